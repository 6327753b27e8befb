"""Who is sent away with a 422 may seal anew: what he leaves behind is never billed (SPEC 14.3).

The stories run on both databases, in one process that forgets what it runs where another one's
part is played.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from sqlalchemy import text

from bombyx import canonical
from bombyx.envelope.request import SealedRequest
from bombyx.link.documents import SignedLost
from bombyx.link.frames import LinkType
from bombyx.money.statement import Status
from bombyx.signing import Kind, verify
from gateway.inference.run import Kept, Run
from gateway.metering.rows import (
    WORKER_PREFIX,
    Disposition,
    Outcome,
    SettlementRow,
    SignedStatement,
)
from tests.chaos.audit import read_books, uneven
from tests.network.asking import asking, claim_of, first_of, judged, listing
from tests.network.harness import CREDIT, MODEL, Network, network
from tests.network.liar import Liar, liar, replacing
from tests.network.requests import bearer, body, directory, error_of, http, post, seal


@pytest.fixture
async def net(tmp_path: Path, database_url: str) -> AsyncIterator[Network]:
    async with network(
        tmp_path, workers=0, database_url=database_url, first_byte_stream_s=1
    ) as one:
        yield one
        assert await uneven(one.context.engine) == []
        books = await read_books(database_url, one.context.engine)
        assert (books.billed_twice, books.charged_twice, books.unpaid_bills) == (0, 0, 0)


def note_of(net: Network, answer: httpx2.Response, sealed: SealedRequest) -> SignedLost:
    """The note in a 422, which must be our gateway's about this request."""
    assert answer.headers["content-type"] == "application/problem+json"
    note = msgspec.convert(answer.json()["lost"], SignedLost)
    assert (note.lost.gateway, note.lost.c) == (net.context.gateway, sealed.c.hex())
    gateway = bytes.fromhex(net.context.gateway)
    verify(Kind.LOST, note.lost, bytes.fromhex(note.signature), gateway)
    return note


async def is_closed(net: Network, sealed: SealedRequest) -> None:
    """At the very moment of the answer: nobody can bill it any more, and nobody is told it ran."""
    claim = await claim_of(net, sealed.c)
    assert (claim.settled, claim.charge, claim.statement_hash) == (True, 0, None)
    async with http() as client:
        url = f"{net.url}/v1/receipts?c={sealed.c.hex()}"
        told = (await client.get(url, headers=bearer(net.api_key))).json()
    assert (told["state"], told["charge_nano"]) == ("settled", "0")
    assert "receipt" not in told
    again = await post(net, sealed.encode())
    assert error_of(again) == (409, "outcome")
    assert "receipt" not in again.json()


@contextlib.contextmanager
def other_fee(net: Network) -> Any:
    settings = net.context.settings
    net.context.settings = settings.model_copy(update={"fee_bps": 7})
    try:
        yield
    finally:
        net.context.settings = settings


async def sealed_to(net: Network, *workers: Liar) -> SealedRequest:
    return seal(net, (await listing(net, *workers)).workers, body("hi"))


@pytest.mark.spec("14.3-c", "14.3-e")
async def test_a_request_for_a_worker_that_left_is_closed_and_never_runs_later(
    net: Network,
) -> None:
    async with liar(net) as one:
        sealed = await sealed_to(net, one)
    answer = await post(net, sealed.encode())
    assert error_of(answer) == (422, "no_candidate")
    assert answer.json()["refusals"] == []
    note_of(net, answer, sealed)
    await is_closed(net, sealed)
    claim = await claim_of(net, sealed.c)
    assert (claim.reserve, claim.winner, claim.header) == (0, "", b"")
    async with liar(net, boot=one.boot, generation=one.generation) as again:
        await is_closed(net, sealed)
        assert again.jobs.empty()
    assert await net.balance() == CREDIT


@pytest.mark.spec("14.3-e")
async def test_a_request_with_another_fee_is_closed(net: Network) -> None:
    async with liar(net) as one:
        sealed = await sealed_to(net, one)
        with other_fee(net):
            answer = await post(net, sealed.encode())
        assert error_of(answer) == (422, "wrong_fee")
        assert answer.json()["error"]["param"] == "fee_bps"
        note_of(net, answer, sealed)
        # With the fee of its header it would run: but it was given up.
        await is_closed(net, sealed)
        assert one.jobs.empty()


@pytest.mark.spec("14.3-e")
async def test_a_request_that_all_refused_is_closed_when_they_say_so(net: Network) -> None:
    async with liar(net) as one, liar(net) as two, asking(net, one, two) as asked:
        for _ in range(2):
            refusing, job = await first_of(one, two)
            await refusing.refuse(job, "busy", "worker")
        answer = await asked.task
        assert error_of(answer) == (422, "no_candidate")
        assert len(answer.json()["refusals"]) == 2
        note_of(net, answer, asked.sealed)
        await is_closed(net, asked.sealed)


async def test_a_clients_fault_is_no_reason_for_a_note(net: Network) -> None:
    async with liar(net) as one, asking(net, one) as asked:
        await one.refuse(await one.job(), "header_mismatch", "client")
        answer = await asked.task
        assert error_of(answer) == (400, "header_mismatch")
        assert "lost" not in answer.json()


async def test_the_same_bytes_at_once_are_given_up_together(net: Network) -> None:
    async with liar(net) as one:
        sealed = await sealed_to(net, one)
    answers = await asyncio.gather(*(post(net, sealed.encode()) for _ in range(8)))
    told = {error_of(answer) for answer in answers}
    assert (422, "no_candidate") in told
    assert told <= {(422, "no_candidate"), (409, "outcome")}
    notes = {note_of(net, answer, sealed) for answer in answers if answer.status_code == 422}
    assert len(notes) == 1
    assert net.context.runs.open_runs() == []
    await is_closed(net, sealed)


async def test_who_waited_in_vain_for_a_worker_and_who_joined_him_get_the_same_note(
    net: Network,
) -> None:
    async with liar(net) as one:
        listed = net.context.registry.get(one.worker)
        assert listed is not None
        while listed.has_room(MODEL, 0):
            listed.link.hold(MODEL)
        sealed = await sealed_to(net, one)
        waiting = [asyncio.create_task(post(net, sealed.encode())) for _ in range(2)]
        async with asyncio.timeout(5):
            while not (isinstance(run := running(net, sealed), Run) and run.readers == 2):
                await asyncio.sleep(0.005)
        assert await net.context.store.find_claims([sealed.c]) == {}
    net.context.dispatcher.router.sweep(draining=False)
    first, second = await asyncio.gather(*waiting)
    assert error_of(first) == error_of(second) == (422, "no_candidate")
    assert note_of(net, first, sealed) == note_of(net, second, sealed)
    assert net.context.runs.open_runs() == []
    await is_closed(net, sealed)


async def test_another_header_of_the_same_commitment_gets_no_note(net: Network) -> None:
    """Else a stranger in the middle would have requests that run called off."""
    async with liar(net) as one, asking(net, one) as asked:
        job = await one.job()
        other = await sealed_to(net, one)
        forged = other.encode().replace(other.c, asked.c)
        with other_fee(net):
            assert error_of(await post(net, forged)) == (409, "c_conflict")
            forget(net, asked.sealed)
            assert error_of(await post(net, forged)) == (409, "c_conflict")
        await one.refuse(job, "busy", "worker")
        note_of(net, await asked.task, asked.sealed)


def running(net: Network, sealed: SealedRequest) -> Run | Kept | None:
    return net.context.runs.get(sealed.c.hex())


def forget(net: Network, sealed: SealedRequest) -> None:
    """As in a process that never saw it."""
    run = running(net, sealed)
    assert isinstance(run, Run)
    net.context.runs.remove(run)


@pytest.mark.spec("14.3-c")
async def test_what_runs_in_another_process_is_not_given_up(net: Network) -> None:
    async with liar(net) as one, asking(net, one) as asked:
        job = await one.job()
        forget(net, asked.sealed)
        with other_fee(net):
            assert error_of(await post(net, asked.sealed.encode())) == (409, "in_progress")
        await one.begin(job)
        await one.token(job)
        statement = one.statement(job)
        await one.finish(job, statement)
        await asked.task
        (receipt,) = await judged(net, asked.c)
        assert receipt.disposition is Disposition.BILLED
        with other_fee(net):
            answer = await post(net, asked.sealed.encode())
        assert error_of(answer) == (409, "outcome")
        assert answer.json()["receipt"]["statement"]["c"] == asked.c.hex()


@pytest.mark.spec("14.3-c")
async def test_what_was_billed_meanwhile_is_an_outcome_and_no_refusal(net: Network) -> None:
    """A worker whose statement another process billed says here that it refused."""
    async with liar(net) as one, asking(net, one) as asked:
        job = await one.job()
        statement = replacing(status=Status.ABORTED)(one.statement(job))
        signed = SignedStatement(
            statement_hash=canonical.digest(statement),
            id=statement.id,
            worker=statement.worker,
            status=statement.status.value,
            document=canonical.encode(one.receipt(statement)),
        )
        row = SettlementRow(
            c=asked.c,
            amount=int(statement.amount_nano),
            fee=int(statement.fee_nano),
            payee=WORKER_PREFIX + "liar",
            statement=signed,
        )
        await net.context.meter.settle(row)
        await one.refuse(job, "busy", "worker")
        answer = await asked.task
        assert error_of(answer) == (409, "outcome")
        assert "lost" not in answer.json()
        assert answer.json()["receipt"]["statement"]["c"] == asked.c.hex()


@pytest.mark.spec("14.3-e")
async def test_a_statement_for_what_was_given_up_is_never_billed(net: Network) -> None:
    """The database lost the claim of a running request, and its client was sent away since."""
    async with liar(net) as one, asking(net, one) as asked:
        job = await one.job()
        await one.begin(job)
        await one.token(job)
        await gave_up_after_a_crash(net, asked.sealed)
        statement = one.statement(job)
        await one.finish(job, statement)
        await asked.task
        (receipt,) = await judged(net, asked.c)
        assert receipt.disposition is Disposition.SUPERSEDED
        async with asyncio.timeout(5):
            while not one.acks:
                await asyncio.sleep(0.01)
        assert one.acks[0].disposition == "superseded"
        assert isinstance(one.acks[0].lost_signature, str)
        assert await net.balance() == asked.before


@pytest.mark.spec("14.3-e")
async def test_a_journals_statement_for_what_was_given_up_is_never_billed(net: Network) -> None:
    async with liar(net) as one, asking(net, one) as asked:
        job = await one.job()
        await one.begin(job)
        await one.token(job)
        await one.word(job, LinkType.RESET, b"gone")
        await asked.task
        await gave_up_after_a_crash(net, asked.sealed)
        statement = replacing(status=Status.ABORTED)(one.statement(job))
        await one.document(LinkType.STATEMENT, canonical.encode(one.receipt(statement)))
        (receipt,) = await judged(net, asked.c)
        assert receipt.disposition is Disposition.SUPERSEDED
        async with asyncio.timeout(5):
            while not one.acks:
                await asyncio.sleep(0.01)
        assert isinstance(one.acks[0].lost_signature, str)
        assert await net.balance() == asked.before
        assert (await claim_of(net, asked.c)).charge == 0
        again = await post(net, asked.sealed.encode())
        assert error_of(again) == (409, "outcome")
        assert "receipt" not in again.json()


async def gave_up_after_a_crash(net: Network, sealed: SealedRequest) -> None:
    """The claim is lost, the process is new, and its fee another."""
    async with net.context.engine.begin() as connection:
        await connection.execute(text("DELETE FROM claim WHERE c = :c"), {"c": sealed.c})
    if net.context.runs.get(sealed.c.hex()) is not None:
        net.context.runs._runs.pop(sealed.c.hex())
    with other_fee(net):
        note_of(net, await post(net, sealed.encode()), sealed)


async def test_a_claim_that_its_process_did_not_live_to_settle_ends_at_nothing(
    net: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with liar(net) as one:
        sealed = await sealed_to(net, one)

    def dies(_: object) -> Any:
        raise RuntimeError

    monkeypatch.setattr("gateway.inference.waiver.OPEN_MS", -1)
    with monkeypatch.context() as patch:
        patch.setattr(net.context.desk, "settle_nothing", dies)
        assert error_of(await post(net, sealed.encode())) == (500, "internal_error")
    assert error_of(await post(net, sealed.encode())) == (409, "in_progress")
    await net.context.meter.reap()
    await is_closed(net, sealed)


@pytest.mark.spec("14.3-e")
@pytest.mark.parametrize("known", [True, False])
async def test_no_note_is_signed_before_the_end_is_on_disk(
    net: Network, monkeypatch: pytest.MonkeyPatch, *, known: bool
) -> None:
    """The database does not answer, or has lost the claim again."""
    async with liar(net) as one:
        sealed = await sealed_to(net, one)
    monkeypatch.setattr("gateway.workers.desk.WAIVE_SECONDS", 0.01)
    never: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    if not known:
        never.set_result(Outcome(sealed.c, None, None, None))
    with monkeypatch.context() as patch:
        patch.setattr(net.context.meter, "settle", lambda _: never)
        answer = await post(net, sealed.encode())
    assert error_of(answer) == (503, "store_busy")
    assert "lost" not in answer.json()
    never.cancel()


async def test_a_client_moves_on_and_keeps_the_note(net: Network, tmp_path: Path) -> None:
    """Its directory is a minute old, and the worker in it gone."""
    client = net.sealed()
    ask: Any = {"model": MODEL, "messages": [{"role": "user", "content": "say: on we go"}]}
    first = await net.add_worker()
    await client.chat.completions.create(**ask)
    await first.stop()
    net.workers.remove(first)
    await net.add_worker()
    async with asyncio.timeout(5):
        while len((await directory(net)).workers) != 1:
            await asyncio.sleep(0.01)
    answer = await client.chat.completions.create(**ask)
    assert (answer.choices[0].message.content or "").strip() == "on we go"
    await net.settled()
    (file,) = (tmp_path / "client" / "client" / "waived").iterdir()
    kept = msgspec.json.decode(file.read_bytes())
    assert (await claim_of(net, bytes.fromhex(kept["lost"]["c"]))).charge == 0
    # Two answers were billed, each once.
    assert await net.context.store.billing_gap() == 0
