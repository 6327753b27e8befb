"""Who is asked next, who is paid, and what a client hears when nobody answers (SPEC 6.2, 6.3)."""

import asyncio
import json
from typing import Any

import httpx2
import msgspec
import pytest

from bombyx import canonical
from bombyx.envelope.documents import RelayNote, ResponseHead
from bombyx.envelope.frames import FrameSplitter, FrameType, encode_frame
from bombyx.link.documents import SignedRefusal
from bombyx.link.frames import LinkType
from bombyx.money.statement import Status
from bombyx.signing import Kind, verify
from gateway.inference import bare as bare_tier
from gateway.inference import dispatcher
from gateway.inference.run import Run
from gateway.metering.rows import Disposition
from tests.network import books
from tests.network.asking import Asked, asking, claim_of, judged, settled
from tests.network.harness import Network
from tests.network.liar import Job, Liar, liar, replacing
from tests.network.requests import body, error_of, post

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def first_of(*liars: Liar) -> tuple[Liar, Job]:
    """Who was asked, and what."""
    tasks = {asyncio.create_task(one.job()): one for one in liars}
    done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    (task,) = done
    return tasks[task], task.result()


async def answer_whole(one: Liar, job: Job) -> int:
    """An honest answer; what it charges."""
    await one.begin(job)
    await one.token(job)
    statement = one.statement(job)
    await one.finish(job, statement)
    return int(statement.charge_nano)


def note_of(answer: httpx2.Response) -> RelayNote:
    frames = FrameSplitter().feed(answer.content[32:])
    assert frames[-1].type == FrameType.RELAY_NOTE
    return canonical.decode(frames[-1].body, RelayNote)


async def ended_open(net: Network, asked: Asked) -> None:
    """The claim waits for the worker's word; nothing was taken."""
    assert not (await claim_of(net, asked.c)).settled
    assert await net.balance() == asked.before


@pytest.mark.parametrize("how", ["refusal", "reset", "silence", "link", "nonsense", "unproven"])
async def test_another_worker_answers_and_is_paid_once(empty: Network, how: str) -> None:
    async with liar(empty) as one, liar(empty) as two, asking(empty, one, two) as asked:
        bad, job = await first_of(one, two)
        good = two if bad is one else one
        match how:
            case "refusal":
                await bad.refuse(job, "busy", "worker")
            case "reset":
                await bad.word(job, LinkType.RESET, b"no")
            case "link":
                await bad.socket.close()
            case "nonsense":
                await bad.data(job, bytes(32) + b"\x99" * 99)
                async with asyncio.timeout(5):
                    await job.reset.wait()
            case "unproven":
                await bad.refuse(job, "busy", "worker", c="ab" * 32)
        again = await good.job()
        assert (again.open.c, again.open.ticket != job.open.ticket) == (job.open.c, True)
        charge = await answer_whole(good, again)
        assert (await asked.task).headers["x-bombyx-worker"] == good.worker
        (receipt,) = await judged(empty, asked.c)
        assert (receipt.worker, receipt.disposition) == (good.worker, Disposition.BILLED)
        assert asked.before - await empty.balance() == charge


async def test_the_losers_statement_is_superseded(empty: Network) -> None:
    async with liar(empty) as one, liar(empty) as two, asking(empty, one, two) as asked:
        bad, job = await first_of(one, two)
        good = two if bad is one else one
        lost = replacing(status=Status.ABORTED)(bad.statement(job))
        await bad.word(job, LinkType.RESET, b"no")
        charge = await answer_whole(good, await good.job())
        await asked.task
        await judged(empty, asked.c)
        # As it would from its journal, on the link that is left.
        await bad.document(LinkType.STATEMENT, canonical.encode(bad.receipt(lost)))
        billed, loser = await judged(empty, asked.c, 2)
        assert (billed.disposition, loser.disposition) == (
            Disposition.BILLED,
            Disposition.SUPERSEDED,
        )
        assert asked.before - await empty.balance() == charge
        await bad.document(LinkType.STATEMENT, canonical.encode(bad.receipt(lost)))
        async with asyncio.timeout(5):
            while len(bad.acks) < 2:
                await asyncio.sleep(0.01)
        assert {ack.disposition for ack in bad.acks} == {"superseded"}


async def test_all_refusals_are_proof_that_nothing_ran(empty: Network) -> None:
    async with liar(empty) as one, liar(empty) as two, asking(empty, one, two) as asked:
        for _ in range(2):
            refusing, job = await first_of(one, two)
            await refusing.refuse(job, "busy", "worker")
        answer = await asked.task
        assert error_of(answer) == (422, "no_candidate")
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert (problem["status"], problem["code"]) == (422, "no_candidate")
        signed = [msgspec.convert(found, SignedRefusal) for found in problem["refusals"]]
        assert {found.refusal.worker for found in signed} == {one.worker, two.worker}
        keys = {who.worker: who.boot.receipt.public_key for who in (one, two)}
        for found in signed:
            signature = bytes.fromhex(found.signature)
            verify(Kind.REFUSAL, found.refusal, signature, keys[found.refusal.worker])
            assert (found.refusal.c, found.refusal.h) == (
                asked.c.hex(),
                asked.sealed.header.h.hex(),
            )
        assert (await settled(empty, asked)).charge == 0
        # The same bytes again do not become a second run.
        assert error_of(await post(empty, asked.sealed.encode())) == (409, "outcome")


async def test_a_refusal_for_the_clients_fault_is_400_and_ends_it(empty: Network) -> None:
    async with liar(empty) as one, liar(empty) as two, asking(empty, one, two) as asked:
        refusing, job = await first_of(one, two)
        await refusing.refuse(job, "header_mismatch", "client")
        answer = await asked.task
        assert error_of(answer) == (400, "header_mismatch")
        assert len(answer.json()["refusals"]) == 1
        assert one.jobs.empty()
        assert two.jobs.empty()
        await settled(empty, asked)
        assert await empty.balance() == asked.before


@pytest.mark.parametrize(
    "changes", [{"c": "ab" * 32}, {"h": "ab" * 32}, {"gateway": "ab" * 32}, {"worker": "ab" * 32}]
)
async def test_a_refusal_of_something_else_proves_nothing(
    empty: Network, changes: dict[str, Any]
) -> None:
    async with liar(empty) as one, asking(empty, one) as asked:
        await one.refuse(await one.job(), "busy", "worker", **changes)
        answer = await asked.task
        assert error_of(answer) == (502, "upstream_failed")
        assert "refusals" not in answer.json()


async def test_a_refusal_with_a_wrong_signature_proves_nothing(empty: Network) -> None:
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        honest, one.boot = one.boot, type(one.boot).fresh()
        await one.refuse(job, "busy", "client")
        one.boot = honest
        assert error_of(await asked.task) == (502, "upstream_failed")


async def test_a_worker_that_says_nothing_is_given_up_in_time(empty: Network) -> None:
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        answer = await asked.task
        assert error_of(answer) == (504, "engine_timeout")
        await job.reset.wait()
        await settled(empty, asked)
        assert await empty.balance() == asked.before


async def test_after_the_first_byte_nobody_else_is_asked(empty: Network) -> None:
    async with liar(empty) as one, liar(empty) as two, asking(empty, one, two) as asked:
        bad, job = await first_of(one, two)
        good = two if bad is one else one
        await bad.begin(job)
        await bad.token(job)
        await bad.socket.close()
        answer = await asked.task
        assert answer.status_code == 200
        assert note_of(answer) == RelayNote(code="link_lost", retryable=True)
        assert good.jobs.empty()
        await ended_open(empty, asked)


BREAKS: dict[str, tuple[bytes, str]] = {
    "unknown_type": (b"\x55\0\0\0\0\1x", "bad_answer"),
    "relay_note": (encode_frame(FrameType.RELAY_NOTE, 0, b"{}"), "bad_answer"),
    "final_data": (b"\0\1\0\0\0\1x", "bad_answer"),
    "clear_end": (b"\5\0\0\0\0\1x", "bad_answer"),
    "long_usage": (b"\2\0\0\0\xff\xff", "bad_answer"),
    "long_frame": (b"\0\0\0\xff\xff\xff", "bad_answer"),
}


@pytest.mark.parametrize("name", BREAKS)
async def test_nonsense_within_an_answer_ends_it_with_a_note(empty: Network, name: str) -> None:
    data, code = BREAKS[name]
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        await one.begin(job)
        await one.token(job)
        await one.data(job, data)
        answer = await asked.task
        assert note_of(answer).code == code
        async with asyncio.timeout(5):
            await job.reset.wait()
        await one.token(job)  # goes nowhere
        await ended_open(empty, asked)


async def test_bytes_after_the_end_reach_nobody(empty: Network) -> None:
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        await one.begin(job)
        await one.token(job)
        await one.finish(job, one.statement(job))
        await one.socket.send_bytes(b"\6" + job.stream.to_bytes(4) + (7).to_bytes(4) + bytes(7))
        answer = await asked.task
        assert FrameSplitter().feed(answer.content[32:])[-1].type == FrameType.END


async def test_an_answer_ends_with_its_end_frame_not_with_the_link(empty: Network) -> None:
    """A worker that never closes its stream holds no client."""
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        await one.begin(job)
        await one.token(job)
        statement = one.statement(job)
        usage = encode_frame(FrameType.USAGE, 0, canonical.encode(one.receipt(statement)))
        await one.data(job, usage + b"\5\1\0\0\0\1x")
        assert (await asked.task).status_code == 200
        one.settle([statement])
        await one.flush()
        assert (await judged(empty, asked.c))[0].disposition is Disposition.BILLED


async def test_a_worker_that_gives_up_before_its_answer_is_a_502_and_paid_as_signed(
    empty: Network,
) -> None:
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        statement = replacing(status=Status.ABORTED)(one.statement(job, tokens=0))
        await one.word(job, LinkType.STATEMENT, canonical.encode(one.receipt(statement)))
        await one.word(job, LinkType.END)
        one.settle([statement])
        await one.flush()
        assert error_of(await asked.task) == (502, "relay_interrupted")
        (receipt,) = await judged(empty, asked.c)
        assert (receipt.disposition, receipt.status) == (Disposition.BILLED, "aborted")
        assert asked.before - await empty.balance() == int(statement.charge_nano)


# --- Deadlines: what is settled when no terminal statement comes (SPEC 6.7) ---


async def overdue(net: Network, c: bytes, seconds: int = 4000) -> None:
    """Let the claim's deadline pass, and the reaper see it."""
    statement = "UPDATE claim SET deadline = deadline - ? WHERE c = ?"
    await books.execute(net, statement, seconds * 1000, c)
    await net.context.meter.reap()


@pytest.mark.parametrize(
    ("good", "bad", "expected"),
    [(0, 0, None), (1, 0, 0), (2, 0, 1), (1, 1, 0), (2, 1, 1), (0, 1, None)],
)
async def test_the_deadline_settles_for_the_highest_valid_partial(
    empty: Network, good: int, bad: int, expected: int | None
) -> None:
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        await one.begin(job)
        await one.token(job)
        partials = []
        for seq in range(good):
            statement = one.statement(job, tokens=10 + seq, seq=seq)
            partials.append(replacing(status=Status.PARTIAL)(statement))
            await one.partial(job, partials[-1])
        for seq in range(good, good + bad):
            statement = replacing(status=Status.PARTIAL)(one.statement(job, tokens=99, seq=seq))
            await one.partial(job, statement, signature="00" * 64)
        await one.socket.close()
        await asked.task
        await ended_open(empty, asked)
        await overdue(empty, asked.c)
        claim = await claim_of(empty, asked.c)
        charge = 0 if expected is None else int(partials[expected].charge_nano)
        assert (claim.settled, claim.charge) == (True, charge)
        assert asked.before - await empty.balance() == charge
        assert await empty.context.store.billing_gap() == 0


async def test_a_good_partial_counts_beside_a_final_statement_that_does_not_hold(
    empty: Network,
) -> None:
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        await one.begin(job)
        await one.token(job)
        partial = replacing(status=Status.PARTIAL)(one.statement(job, tokens=7))
        await one.partial(job, partial)
        await one.finish(job, replacing(charge_nano="1")(one.statement(job, tokens=8, seq=1)))
        await asked.task
        assert (await judged(empty, asked.c))[0].disposition is Disposition.INVALID
        await overdue(empty, asked.c)
        assert (await claim_of(empty, asked.c)).charge == int(partial.charge_nano)


async def test_an_answer_that_never_ends_is_ended_and_its_partial_counts(
    empty: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        await one.begin(job)
        await one.token(job)
        partial = replacing(status=Status.PARTIAL)(one.statement(job, tokens=7))
        await one.partial(job, partial)
        await shown(empty, asked.c.hex())
        real = empty.context.dispatcher._now_ms
        monkeypatch.setattr(empty.context.dispatcher, "_now_ms", lambda: real() + 601_000)
        async with asyncio.timeout(5):
            while not asked.task.done():
                empty.context.dispatcher.sweep()
                await asyncio.sleep(0.01)
        assert note_of(asked.task.result()).code == "engine_timeout"
        await overdue(empty, asked.c)
        assert (await claim_of(empty, asked.c)).charge == int(partial.charge_nano)


async def shown(net: Network, c: str) -> None:
    """Wait until the request's client has a byte of its answer."""
    async with asyncio.timeout(5):
        while not any(run.claim.c == c and _begun(run) for run in net.context.runs.open_runs()):
            await asyncio.sleep(0.01)


def _begun(run: Run) -> bool:
    return run.answer is not None and run.answer.answered and bool(run.answer.usages)


async def test_a_worker_that_ignores_a_reset_is_not_waited_for(
    empty: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "LAST_WORD_SECONDS", 0.01)
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        await one.begin(job)
        await one.token(job)
        partial = replacing(status=Status.PARTIAL)(one.statement(job, tokens=7))
        await one.partial(job, partial)
        await shown(empty, asked.c.hex())
        asked.task.cancel()
        async with asyncio.timeout(5):
            await job.reset.wait()
        await asyncio.sleep(0.1)
        await overdue(empty, asked.c)
        assert (await claim_of(empty, asked.c)).charge == int(partial.charge_nano)


async def test_a_statement_after_the_deadline_has_expired(empty: Network) -> None:
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        await one.begin(job)
        await one.token(job)
        statement = replacing(status=Status.ABORTED)(one.statement(job))
        await one.word(job, LinkType.RESET, b"gone")
        await asked.task
        await overdue(empty, asked.c)
        assert (await claim_of(empty, asked.c)).charge == 0
        await one.document(LinkType.STATEMENT, canonical.encode(one.receipt(statement)))
        (receipt,) = await judged(empty, asked.c)
        assert receipt.disposition is Disposition.EXPIRED
        assert await empty.balance() == asked.before


# --- Statements out of journals (SPEC 5.3, 6.8) ---


async def test_a_resent_statement_settles_what_a_lost_link_left_open(empty: Network) -> None:
    async with liar(empty) as one:
        async with asking(empty, one) as asked:
            job = await one.job()
            await one.begin(job)
            await one.token(job)
            statement = replacing(status=Status.ABORTED)(one.statement(job))
            await one.socket.close()
            await asked.task
        async with liar(empty, boot=one.boot, generation=one.generation) as again:
            await again.document(LinkType.STATEMENT, canonical.encode(one.receipt(statement)))
            (receipt,) = await judged(empty, asked.c)
            assert receipt.disposition is Disposition.BILLED
            assert asked.before - await empty.balance() == int(statement.charge_nano)


async def test_a_resent_statement_that_does_not_fit_is_invalid(empty: Network) -> None:
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        await one.begin(job)
        await one.token(job)
        await one.word(job, LinkType.RESET, b"gone")
        await asked.task
        lie = replacing(status=Status.ABORTED, model="gpt-7")(one.statement(job))
        await one.document(LinkType.STATEMENT, canonical.encode(one.receipt(lie)))
        (receipt,) = await judged(empty, asked.c)
        assert (receipt.disposition, receipt.code) == (Disposition.INVALID, "model")


@pytest.mark.parametrize("what", ["text", "partial", "keyset", "signature", "ticket"])
async def test_a_resent_statement_that_proves_nothing_changes_nothing(
    empty: Network, what: str
) -> None:
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        await one.begin(job)
        await one.token(job)
        await one.word(job, LinkType.RESET, b"gone")
        await asked.task
        statement = replacing(status=Status.ABORTED)(one.statement(job))
        cases: dict[str, dict[str, Any]] = {
            "partial": {"status": Status.PARTIAL},
            "keyset": {"worker": "ab" * 32},
            "ticket": {"c": "ab" * 32},
        }
        receipt = one.receipt(replacing(**cases.get(what, {}))(statement))
        if what == "signature":
            receipt = msgspec.structs.replace(receipt, signature="00" * 64)
        document = b"no JSON" if what == "text" else canonical.encode(receipt)
        await one.document(LinkType.STATEMENT, document)
        await one.document(LinkType.PING, bytes(8))
        async with asyncio.timeout(5):
            while not one.pongs:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert await empty.context.store.receipts_of(asked.c) == []
        await ended_open(empty, asked)


async def test_a_claim_that_the_database_lost_is_rebuilt_from_its_ticket(empty: Network) -> None:
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        await one.begin(job)
        await one.token(job)
        await one.word(job, LinkType.RESET, b"gone")
        await asked.task
        statement = replacing(status=Status.ABORTED)(one.statement(job))
        await books.execute(empty, "DELETE FROM claim WHERE c = ?", asked.c)
        await one.document(LinkType.STATEMENT, canonical.encode(one.receipt(statement)))
        (receipt,) = await judged(empty, asked.c)
        assert receipt.disposition is Disposition.BILLED
        assert asked.before - await empty.balance() == int(statement.charge_nano)


# --- The bare tier ---


def bare(net: Network, **fields: Any) -> "asyncio.Task[httpx2.Response]":
    content = json.dumps(body("hi", **fields)).encode()
    return asyncio.create_task(post(net, content, media="application/json"))


async def test_bare_failover_is_billed_once(empty: Network) -> None:
    before = await empty.balance()
    async with liar(empty) as one, liar(empty) as two:
        asked = bare(empty)
        bad, job = await first_of(one, two)
        good = two if bad is one else one
        await bad.refuse(job, "busy", "worker")
        again = await good.job()
        assert again.open.c != job.open.c
        await good.answer_bare(again, [b"data: {}\n\n", b"data: [DONE]\n\n"])
        answer = await asked
        assert answer.text == "data: {}\n\ndata: [DONE]\n\n"
        assert answer.headers["x-bombyx-tier"] == "bare"
        assert answer.headers["x-bombyx-worker"] == good.worker
        (receipt,) = await judged(empty, again.open.c)
        assert receipt.disposition is Disposition.BILLED
        assert before - await empty.balance() == receipt.charge


async def test_a_bare_client_is_told_to_wait_when_all_refuse(empty: Network) -> None:
    async with liar(empty) as one:
        asked = bare(empty)
        await one.refuse(await one.job(), "busy", "worker")
        answer = await asked
        assert error_of(answer) == (503, "overloaded")
        assert answer.headers["retry-after-ms"] == "1000"


async def test_a_bare_refusal_for_the_clients_fault_is_400(empty: Network) -> None:
    async with liar(empty) as one:
        asked = bare(empty)
        await one.refuse(await one.job(), "context_length_exceeded", "client")
        assert error_of(await asked) == (400, "context_length_exceeded")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_bare_answer_that_does_not_open_is_the_workers_fault(
    empty: Network, stream: bool
) -> None:
    async with liar(empty) as one:
        asked = bare(empty, stream=stream)
        job = await one.job()
        await one.data(job, bytes(32) + encode_frame(FrameType.HEAD, 0, bytes(60)))
        assert error_of(await asked) == (502, "bad_answer")


async def test_a_bare_answer_is_not_run_again_once_it_began(empty: Network) -> None:
    async with liar(empty) as one, liar(empty) as two:
        asked = bare(empty, stream=False)
        bad, job = await first_of(one, two)
        good = two if bad is one else one
        sealer = bad.sealer(job)
        head = sealer.head(ResponseHead(status=200, headers=[]))
        await bad.data(job, sealer.salt + head + sealer.data(b"{"))
        await asyncio.sleep(0.1)
        await bad.socket.close()
        assert error_of(await asked) == (502, "link_lost")
        assert good.jobs.empty()


async def test_a_broken_bare_stream_ends_with_an_error_event(empty: Network) -> None:
    async with liar(empty) as one:
        asked = bare(empty)
        job = await one.job()
        sealer = one.sealer(job)
        head = sealer.head(ResponseHead(status=200, headers=[]))
        await one.data(job, sealer.salt + head + sealer.data(b"data: {}\n\n"))
        await asyncio.sleep(0.1)
        await one.socket.close()
        events = (await asked).text.split("\n\n")
        assert events[0] == "data: {}"
        assert json.loads(events[1].removeprefix("data: "))["error"]["code"] == "link_lost"
        assert "[DONE]" not in events[1]


async def test_a_worker_sets_no_header_but_the_content_type(empty: Network) -> None:
    async with liar(empty) as one:
        asked = bare(empty)
        head = ResponseHead(
            status=200,
            headers=[
                ("x-bombyx-tier", "sealed"),
                ("set-cookie", "a=b"),
                ("content-length", "1"),
                ("Content-Type", "text/event-stream"),
            ],
        )
        await one.answer_bare(await one.job(), [b"data: {}\n\n"], head=head)
        answer = await asked
        assert answer.headers.get_list("x-bombyx-tier") == ["bare"]
        assert "set-cookie" not in answer.headers
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.text == "data: {}\n\n"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_long_bare_answer_gets_credit_for_what_came_over_the_link(
    empty: Network, stream: bool
) -> None:
    """The window is 256 KiB of ciphertext, of which padding is the larger part here."""
    async with liar(empty) as one:
        asked = bare(empty, stream=stream)
        pieces = [b"data: {}\n\n"] * 4000
        async with asyncio.timeout(10):
            await one.answer_bare(await one.job(), pieces)
            assert (await asked).content == b"".join(pieces)


async def test_a_bare_answer_without_end_has_bounds(
    empty: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bare_tier, "MAX_WHOLE_BYTES", 1000)
    async with liar(empty) as one:
        asked = bare(empty, stream=False)
        job = await one.job()
        sealer = one.sealer(job)
        head = sealer.head(ResponseHead(status=200, headers=[]))
        await one.data(job, sealer.salt + head + sealer.data(bytes(2000)))
        assert error_of(await asked) == (502, "bad_answer")
        async with asyncio.timeout(5):
            await job.reset.wait()


async def test_an_error_within_a_bare_answer_is_a_502(empty: Network) -> None:
    async with liar(empty) as one:
        asked = bare(empty, stream=False)
        job = await one.job()
        sealer = one.sealer(job)
        out = sealer.salt + sealer.head(ResponseHead(status=200, headers=[]))
        out += sealer.data(b"{") + sealer.error(b'{"message":"x"}')
        await one.data(job, out)
        await one.word(job, LinkType.END)
        assert error_of(await asked) == (502, "engine_failed")


async def test_a_bare_answer_without_head_is_a_502(empty: Network) -> None:
    async with liar(empty) as one:
        asked = bare(empty, stream=False)
        job = await one.job()
        statement = replacing(status=Status.ABORTED)(one.statement(job, tokens=0))
        await one.word(job, LinkType.STATEMENT, canonical.encode(one.receipt(statement)))
        await one.word(job, LinkType.END)
        assert error_of(await asked) == (502, "engine_failed")


async def test_sessions_are_used_again_and_counters_never(empty: Network) -> None:
    async with liar(empty) as one:
        keys = []
        for _ in range(3):
            asked = bare(empty)
            job = await one.job()
            keys.append(job.open.key)
            await one.answer_bare(job, [b"data: {}\n\n"])
            assert (await asked).status_code == 200
        assert len(one.sessions) == 1
        assert [key.counter for key in keys] == [0, 1, 2]  # type: ignore[union-attr]
