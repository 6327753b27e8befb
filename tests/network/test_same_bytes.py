"""The same bytes again are the same request, whoever asks and whenever (SPEC 14.2)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx2
import msgspec
import openai
import pytest

from bombyx import canonical
from bombyx.link.frames import LinkType
from bombyx.money.receipt import Receipt, verify_receipt
from bombyx.money.statement import Status
from gateway.accounts.repository import Accounts
from gateway.inference import answer as answers
from gateway.inference import run as runs
from gateway.inference import sealed as sealed_tier
from gateway.metering.rows import Disposition
from tests.network.asking import asking, judged
from tests.network.harness import CREDIT, MODEL, Network
from tests.network.liar import Job, Liar, liar, replacing
from tests.network.requests import (
    CHAT,
    SEALED,
    bearer,
    body,
    directory,
    error_of,
    http,
    now,
    payer_of,
    post,
    seal,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def running(net: Network, c: bytes, readers: int = 1) -> None:
    """Wait until so many clients read this request's answer."""
    async with asyncio.timeout(5):
        while True:
            run = net.context.runs.get(c.hex())
            if isinstance(run, runs.Run) and run.answer is not None and run.readers == readers:
                return
            await asyncio.sleep(0.01)


async def forget(net: Network) -> None:
    """As after 300 s."""
    net.context.runs.expire(float("inf"))


@pytest.mark.spec("14.2-a")
async def test_many_join_the_running_answer_from_its_first_byte(empty: Network) -> None:
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        await one.begin(job)
        await one.token(job, 3)
        await running(empty, asked.c)
        joined = [asyncio.create_task(post(empty, asked.sealed.encode())) for _ in range(10)]
        await running(empty, asked.c, 11)
        await one.token(job, 3)
        statement = one.statement(job)
        await one.finish(job, statement)
        first = await asked.task
        for answer in await asyncio.gather(*joined):
            assert answer.content == first.content
            for name in ("content-type", "x-bombyx-id", "x-bombyx-worker", "x-bombyx-tier"):
                assert answer.headers[name] == first.headers[name]
        await judged(empty, asked.c)
        kept = await post(empty, asked.sealed.encode())
        assert kept.content == first.content
        assert one.jobs.empty()
        assert asked.before - await empty.balance() == int(statement.charge_nano)


@pytest.mark.spec("14.2-a")
async def test_after_the_answer_is_dropped_the_outcome_is_told_with_its_receipt(
    empty: Network,
) -> None:
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        await one.begin(job)
        await one.token(job)
        await one.finish(job, one.statement(job))
        await asked.task
        await judged(empty, asked.c)
        await forget(empty)
        again = await post(empty, asked.sealed.encode())
        assert error_of(again) == (409, "outcome")
        assert again.headers["x-should-retry"] == "false"
        receipt = msgspec.json.decode(msgspec.json.encode(again.json()["receipt"]), type=Receipt)
        verify_receipt(receipt, one.boot.receipt.public_key)
        assert receipt.statement.c == asked.c.hex()


@pytest.mark.spec("14.3-c")
async def test_a_request_that_ran_is_never_answered_as_if_it_had_not(empty: Network) -> None:
    """A 422 would make the client seal anew, and pay twice."""
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        await one.begin(job)
        await one.token(job)
        await one.finish(job, one.statement(job))
        await asked.task
        await judged(empty, asked.c)
    await forget(empty)
    assert error_of(await post(empty, asked.sealed.encode())) == (409, "outcome")
    settings = empty.context.settings
    empty.context.settings = settings.model_copy(update={"fee_bps": 7})
    try:
        assert error_of(await post(empty, asked.sealed.encode())) == (409, "outcome")
    finally:
        empty.context.settings = settings


async def test_a_request_that_runs_in_another_process_is_409(empty: Network) -> None:
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        run = empty.context.runs.get(asked.c.hex())
        assert isinstance(run, runs.Run)
        empty.context.runs.remove(run)  # as in a process that never saw it
        assert error_of(await post(empty, asked.sealed.encode())) == (409, "in_progress")
        await one.refuse(job, "busy", "worker")
        await asked.task


@pytest.mark.spec("5.2-b")
async def test_another_account_does_not_read_an_answer(empty: Network) -> None:
    accounts = Accounts(empty.context.engine)
    other = await accounts.create("other")
    await accounts.credit(other.id, CREDIT, txn=f"seed-{other.id}")
    _, key = await accounts.create_key(other.id, name="other")
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        answer = await post(empty, asked.sealed.encode(), key=key.secret)
        assert error_of(answer) == (409, "c_conflict")
        await one.begin(job)
        await one.token(job)
        await one.finish(job, one.statement(job))
        await asked.task
        answer = await post(empty, asked.sealed.encode(), key=key.secret)
        assert error_of(answer) == (409, "c_conflict")
        await forget(empty)
        # Without the running answer the payer key's binding says it first.
        answer = await post(empty, asked.sealed.encode(), key=key.secret)
        assert error_of(answer) == (403, "forbidden")
        assert await accounts.balance(other.id) == CREDIT


@pytest.mark.spec("5.2-b")
async def test_one_commitment_under_another_header_is_a_conflict(empty: Network) -> None:
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        listed = await directory(empty)
        other = seal(empty, listed.workers, body("hi"))
        forged = other.encode().replace(other.c, asked.c)
        assert error_of(await post(empty, forged)) == (409, "c_conflict")
        await one.refuse(job, "busy", "worker")
        await asked.task
        await forget(empty)
        assert error_of(await post(empty, forged)) == (409, "c_conflict")


async def test_who_joins_shares_the_fate_of_the_first(empty: Network) -> None:
    async with liar(empty) as one, liar(empty) as two, asking(empty, one, two) as asked:
        await running(empty, asked.c)
        joined = asyncio.create_task(post(empty, asked.sealed.encode()))
        await running(empty, asked.c, 2)
        (run,) = [one for one in empty.context.runs.open_runs() if one.claim.c == asked.c.hex()]
        assert run.listed is not None
        bad, good = (one, two) if run.listed.worker == one.worker else (two, one)
        await bad.refuse(await bad.job(), "busy", "worker")
        again = await good.job()
        # The first attempt is over; whoever joined waits for the second one.
        await asyncio.sleep(0.05)
        assert not joined.done()
        await good.begin(again)
        await good.token(again)
        await good.finish(again, good.statement(again))
        assert (await joined).content == (await asked.task).content


async def test_who_joins_is_told_the_same_refusal(empty: Network) -> None:
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        joined = asyncio.create_task(post(empty, asked.sealed.encode()))
        await running(empty, asked.c, 2)
        await one.refuse(job, "busy", "worker")
        first, second = await asyncio.gather(asked.task, joined)
        assert error_of(first) == error_of(second) == (422, "no_candidate")
        assert first.json() == second.json()


async def test_who_joins_a_request_that_nobody_can_pay_hears_so(empty: Network) -> None:
    accounts = Accounts(empty.context.engine)
    poor = await accounts.create("poor")
    _, key = await accounts.create_key(poor.id, name="poor")
    async with liar(empty):
        listed = await directory(empty)
        sealed = seal(empty, listed.workers, body("hi"), payer=payer_of(poor.id))
        found = await asyncio.gather(
            *(post(empty, sealed.encode(), key=key.secret) for _ in range(5))
        )
        assert {error_of(answer) for answer in found} == {(402, "insufficient_quota")}


async def test_the_answer_goes_on_while_anyone_reads_it(empty: Network) -> None:
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        await one.begin(job)
        await one.token(job)
        joined = asyncio.create_task(post(empty, asked.sealed.encode()))
        await running(empty, asked.c, 2)
        await asyncio.sleep(0.06)
        asked.task.cancel()
        await running(empty, asked.c, 1)
        assert not job.reset.is_set()
        assert empty.context.runs.open_runs()
        await one.token(job)
        await one.finish(job, one.statement(job))
        assert (await joined).status_code == 200
        assert not job.reset.is_set()


async def test_the_last_reader_to_leave_stops_the_worker(empty: Network) -> None:
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        await one.begin(job)
        await one.token(job)
        joined = asyncio.create_task(post(empty, asked.sealed.encode()))
        await running(empty, asked.c, 2)
        await asyncio.sleep(0.06)
        asked.task.cancel()
        joined.cancel()
        async with asyncio.timeout(2):
            await job.reset.wait()
        # What was signed until then is what it costs.
        aborted = replacing(status=Status.ABORTED)(one.statement(job))
        await one.word(job, LinkType.STATEMENT, canonical.encode(one.receipt(aborted)))
        await one.word(job, LinkType.END)
        one.settle([aborted])
        await one.flush()
        (receipt,) = await judged(empty, asked.c)
        assert (receipt.disposition, receipt.status) == (Disposition.BILLED, "aborted")


async def test_a_request_may_be_joined_long_after_it_was_issued(
    empty: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        await one.begin(job)
        await one.token(job)
        await one.finish(job, one.statement(job))
        first = await asked.task
        monkeypatch.setattr(sealed_tier, "unix_seconds", lambda: now() + 301)
        assert (await post(empty, asked.sealed.encode())).content == first.content
        listed = await directory(empty)
        late = seal(empty, listed.workers, body("hi"))
        assert error_of(await post(empty, late.encode())) == (400, "clock_skew")


# --- Long answers and slow readers ---


@contextlib.asynccontextmanager
async def streaming(net: Network, content: bytes) -> AsyncIterator[httpx2.Response]:
    async with http() as client:
        headers = {"content-type": SEALED, **bearer(net.api_key)}
        async with client.stream(
            "POST", net.url + CHAT, content=content, headers=headers
        ) as answer:
            yield answer


async def pour(one: Liar, job: Job, most: int) -> int:
    """Send as much as the gateway gives credit for."""
    sent = 0
    quiet = 0
    while sent < most and quiet < 20:
        if one.mux.has_credit(job.stream):
            await one.token(job, 20)
            sent += 20 * 534
            quiet = 0
        else:
            quiet += 1
            await asyncio.sleep(0.01)
    return sent


async def test_a_client_that_does_not_read_holds_a_bounded_number_of_bytes(
    empty: Network,
) -> None:
    async with liar(empty) as one:
        listed = await directory(empty)
        sealed = seal(empty, listed.workers, body("hi"))
        reader, writer = await _raw(empty, sealed.encode())
        job = await one.job()
        await one.begin(job)
        sent = await pour(one, job, 64 * 2**20)
        # Kernel buffers, the server's, and one window; not what the worker has to say.
        assert sent < 16 * 2**20
        writer.close()
        async with asyncio.timeout(5):
            await job.reset.wait()
        del reader


async def _raw(net: Network, content: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    url = httpx2.URL(net.url)
    reader, writer = await asyncio.open_connection(url.host, url.port, limit=2**10)
    writer.write(
        f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(content)}\r\n"
        f"content-type: {SEALED}\r\nauthorization: Bearer {net.api_key}\r\n\r\n".encode()
        + content
    )
    await writer.drain()
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    return reader, writer


async def test_an_answer_beyond_8_mib_is_streamed_but_not_kept(
    empty: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "MAX_KEPT_BYTES", 100_000)
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        await one.begin(job)
        await pour(one, job, 400_000)
        (run,) = [r for r in empty.context.runs.open_runs() if r.claim.c == asked.c.hex()]
        assert run.answer is not None
        async with asyncio.timeout(5):
            while sum(len(chunk) for chunk in run.answer.chunks) > 100_000:
                await one.token(job)
                await asyncio.sleep(0.01)
        assert error_of(await post(empty, asked.sealed.encode())) == (409, "in_progress")
        assert job.sent is not None
        size = job.sent.length
        await one.finish(job, one.statement(job))
        assert len((await asked.task).content) > size
        await judged(empty, asked.c)
        assert error_of(await post(empty, asked.sealed.encode())) == (409, "outcome")


# --- The sealed client behind it all ---


async def test_the_client_seals_anew_once_after_keys_were_rotated(
    shared: Network,
) -> None:
    client = shared.sealed()
    ask = {"model": MODEL, "messages": [{"role": "user", "content": "say: one"}]}
    await client.chat.completions.create(**ask)  # type: ignore[call-overload]
    for running_worker in shared.workers:
        old = running_worker.worker.generations.current
        await running_worker.worker.rotate()
        async with asyncio.timeout(5):
            while (
                shared.context.registry.get(running_worker.worker.generations.current.worker)
                is None
            ):
                await asyncio.sleep(0.01)
        await running_worker.worker._dialer.retire(old, 0)
    async with asyncio.timeout(5):
        while len(shared.context.registry.all()) != len(shared.workers):
            await asyncio.sleep(0.01)
    answer = await client.chat.completions.create(**ask)  # type: ignore[call-overload]
    assert answer.choices[0].message.content.strip() == "one"


@pytest.mark.spec("14.3-f")
@pytest.mark.parametrize(
    ("codes", "told", "again"),
    [
        (("busy", "busy"), (503, "overloaded"), "true"),
        (("busy", "gateway_unpaid"), (503, "overloaded"), "true"),
        (("busy", "stale_candidate"), (422, "no_candidate"), "false"),
    ],
)
async def test_the_client_gives_up_when_sealing_anew_does_not_help(
    empty: Network, codes: tuple[str, str], told: tuple[int, str], again: str
) -> None:
    async with liar(empty) as one:
        client = empty.sealed()
        asked = asyncio.create_task(
            client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "hi"}]
            )
        )
        for code in codes:
            await one.refuse(await one.job(), code, "worker")
        with pytest.raises(openai.APIStatusError) as caught:
            await asked
        assert (caught.value.status_code, caught.value.code) == told
        headers = caught.value.response.headers
        assert headers["x-should-retry"] == again
        assert ("retry-after-ms" in headers) == (again == "true")
        assert one.jobs.empty()
