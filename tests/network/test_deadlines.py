"""What settles a claim whose worker had no last word in time, or has it late (SPEC 5.3, 6)."""

import asyncio
from typing import Any

import msgspec
import pytest

from bombyx import canonical
from bombyx.link.frames import LinkType
from bombyx.money.statement import Status
from gateway.inference import dispatcher
from gateway.inference.run import Run
from gateway.metering.rows import Disposition
from tests.network import books
from tests.network.asking import (
    asking,
    claim_of,
    ended_open,
    judged,
    note_of,
)
from tests.network.harness import Network
from tests.network.liar import liar, replacing

pytestmark = pytest.mark.asyncio(loop_scope="module")


# --- Deadlines: what is settled when no terminal statement comes (SPEC 6.7) ---


async def overdue(net: Network, c: bytes, seconds: int = 4000) -> None:
    """Let the claim's deadline pass, and the reaper see it."""
    statement = "UPDATE claim SET deadline = deadline - ? WHERE c = ?"
    await books.execute(net, statement, seconds * 1000, c)
    await net.context.meter.reap()


@pytest.mark.spec("6.7-a")
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


@pytest.mark.spec("6.1-b")
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


@pytest.mark.spec("6.7-b")
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


@pytest.mark.spec("5.3-b")
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
