"""A worker may send anything: what it did not earn is never billed (SPEC 1.5, 3.4, 6.1)."""

import asyncio
import dataclasses

import msgspec
import pytest

from bombyx import canonical
from bombyx.envelope.frames import FINAL, FrameType, encode_frame
from bombyx.link.frames import LinkType
from bombyx.money.offer import Prices
from bombyx.money.statement import Statement, Status, TokenCounts
from gateway.metering.rows import Disposition
from gateway.workers import desk
from tests.network.asking import asking, claim_of, judged
from tests.network.harness import Network
from tests.network.liar import Change, Job, Liar, liar, replacing

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_honest_statement_is_billed(empty: Network) -> None:
    """The control: all of what follows differs from this in one thing."""
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        await one.begin(job)
        await one.token(job)
        statement = one.statement(job)
        await one.finish(job, statement)
        assert (await asked.task).status_code == 200
        (receipt,) = await judged(empty, asked.c)
        assert (receipt.disposition, receipt.code) == (Disposition.BILLED, None)
        assert asked.before - await empty.balance() == int(statement.charge_nano)


OTHER = "ab" * 32
LIES: dict[str, tuple[Change, str]] = {
    "c": (replacing(c=OTHER), "c"),
    "h": (replacing(h=OTHER), "h"),
    "id": (replacing(id="ab" * 16), "id"),
    "tier": (replacing(tier="bare"), "tier"),
    "payer": (replacing(payer=OTHER), "payer"),
    "worker": (replacing(worker=OTHER), "worker_or_ticket"),
    "ticket": (replacing(ticket="00"), "worker_or_ticket"),
    "model": (replacing(model="gpt-7"), "model"),
    "weights": (replacing(weights=OTHER), "weights"),
    "engine": (replacing(engine=OTHER), "engine"),
    "offer": (replacing(offer=OTHER), "offer"),
    "prices": (
        replacing(prices=Prices(prompt="1", cached="1", completion="9000000000", reasoning="1")),
        "prices",
    ),
    "fee_bps": (replacing(fee_bps=501), "fee_bps"),
    "charge": (replacing(charge_nano="1"), "arithmetic"),
    "amount": (replacing(amount_nano="999999"), "arithmetic"),
    "cached": (
        replacing(tokens=TokenCounts(prompt=5, cached=6, completion=10, reasoning=0)),
        "arithmetic",
    ),
    "req_ct_hash": (replacing(req_ct_hash=OTHER), "req_ct_hash"),
    "resp_ct_hash": (replacing(resp_ct_hash=OTHER), "resp_ct_hash"),
    "resp_ct_bytes": (replacing(resp_ct_bytes=1), "resp_ct_hash"),
}


@pytest.mark.spec("6.1-a")
@pytest.mark.parametrize("name", LIES)
async def test_a_statement_that_does_not_fit_is_invalid_and_costs_nothing(
    empty: Network, name: str
) -> None:
    change, reason = LIES[name]
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        await one.begin(job)
        await one.token(job)
        lie = change(one.statement(job))
        await one.finish(job, lie)
        assert (await asked.task).status_code == 200
        (receipt,) = await judged(empty, bytes.fromhex(lie.c))
        assert (receipt.disposition, receipt.code) == (Disposition.INVALID, reason)
        assert await empty.balance() == asked.before
        claim = await claim_of(empty, asked.c)
        assert not claim.settled
        async with asyncio.timeout(2):
            while not one.acks:
                await asyncio.sleep(0.01)
        assert (one.acks[0].disposition, one.acks[0].code) == ("invalid", reason)


@pytest.mark.spec("6.8-c")
async def test_another_workers_statement_is_not_spoilt_by_showing_it_first(
    empty: Network,
) -> None:
    async with (
        liar(empty) as one,
        liar(empty) as thief,
        asking(empty, one) as asked,
        asking(empty, thief) as other,
    ):
        job, stolen = await one.job(), await thief.job()
        await one.begin(job)
        await one.token(job)
        statement = one.statement(job)
        await thief.begin(stolen)
        await thief.token(stolen)
        usage = encode_frame(FrameType.USAGE, 0, canonical.encode(one.receipt(statement)))
        await thief.data(stolen, usage + encode_frame(FrameType.END, FINAL, b"x"))
        await other.task
        await one.finish(job, statement)
        await asked.task
        (receipt,) = await judged(empty, asked.c)
        assert receipt.disposition is Disposition.BILLED


@pytest.mark.spec("2.6-d")
@pytest.mark.parametrize(
    ("tokens", "reason"),
    [(4001, "max_output_tokens"), (10**6, "max_output_tokens")],
)
async def test_more_than_the_header_allows_is_invalid(
    empty: Network, tokens: int, reason: str
) -> None:
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        await one.begin(job)
        await one.token(job)
        await one.finish(job, one.statement(job, tokens=tokens))
        (receipt,) = await judged(empty, asked.c)
        assert (receipt.disposition, receipt.code) == (Disposition.INVALID, reason)
        assert await empty.balance() == asked.before


@pytest.mark.spec("5.3-a")
async def test_a_foreign_ticket_is_invalid(empty: Network) -> None:
    """The ticket of another claim of the same worker, which is genuine but not this one's."""
    async with liar(empty) as one, asking(empty, one) as first, asking(empty, one) as second:
        jobs = {job.open.c: job for job in (await one.job(), await one.job())}
        own, other = jobs[first.c], jobs[second.c]
        await one.begin(own)
        await one.token(own)
        await one.finish(own, replacing(ticket=other.open.ticket.hex())(one.statement(own)))
        (receipt,) = await judged(empty, first.c)
        assert (receipt.disposition, receipt.code) == (Disposition.INVALID, "worker_or_ticket")
        assert await empty.balance() == first.before


@pytest.mark.spec("1.5-d")
async def test_a_terminal_statement_without_settle_batch_is_proved_by_its_own_signature(
    empty: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "SETTLE_PATIENCE_SECONDS", -1.0)
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        await one.begin(job)
        await one.token(job)
        await one.finish(job, one.statement(job), settle=False)
        await asked.task
        empty.context.desk.sweep()
        (receipt,) = await judged(empty, asked.c)
        assert receipt.disposition is Disposition.BILLED


@pytest.mark.spec("1.5-d")
async def test_a_statement_that_nothing_proves_is_never_billed(
    empty: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "SETTLE_PATIENCE_SECONDS", -1.0)
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        await one.begin(job)
        await one.token(job)
        await forge(one, job, one.statement(job))
        await asked.task
        empty.context.desk.sweep()
        await asyncio.sleep(0.1)
        assert not empty.context.desk.waiting
        assert await empty.context.store.receipts_of(asked.c) == []
        assert await empty.balance() == asked.before


async def forge(one: Liar, job: Job, statement: Statement) -> None:
    """End an answer with a receipt that nobody signed."""
    receipt = msgspec.structs.replace(one.receipt(statement), signature="00" * 64)
    usage = encode_frame(FrameType.USAGE, 0, canonical.encode(receipt))
    await one.data(job, usage + encode_frame(FrameType.END, FINAL, b"x"))
    await one.word(job, LinkType.END)


@pytest.mark.parametrize("usage", [b"", b"{}", b"not json", b"x" * 8192])
async def test_an_unreadable_receipt_settles_nothing(empty: Network, usage: bytes) -> None:
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        await one.begin(job)
        await one.token(job)
        end = encode_frame(FrameType.END, FINAL, b"x")
        await one.data(job, encode_frame(FrameType.USAGE, 0, usage) + end)
        await one.word(job, LinkType.END)
        await asked.task
        assert not empty.context.desk.waiting
        assert await empty.balance() == asked.before


async def test_a_partial_in_place_of_the_final_statement_settles_nothing_now(
    empty: Network,
) -> None:
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        await one.begin(job)
        await one.token(job)
        await one.finish(job, replacing(status=Status.PARTIAL)(one.statement(job)))
        await asked.task
        assert not (await claim_of(empty, asked.c)).settled
        assert await empty.balance() == asked.before


async def _settle_wrongly(one: Liar, job: Job, name: str) -> None:
    statement = one.statement(job)
    await forge(one, job, statement)  # so that the batch alone could prove it
    if name == "root":
        one.settle([statement], root="00" * 32)
    elif name == "count":
        one.settle([statement], count=2)
    elif name == "boot":
        one.settle([statement], boot="ab" * 16)
    elif name == "gateway":
        one.settle([statement], gateway="ab" * 32)
    elif name == "signature":
        one.boot = dataclasses.replace(one.boot, receipt=type(one.boot).fresh().receipt)
        one.settle([statement])
    elif name == "not_canonical":
        one.mux.document(LinkType.SETTLE, b'{"leaves": []}')
    await one.flush()


@pytest.mark.spec("1.5-e")
@pytest.mark.parametrize("name", ["root", "count", "boot", "gateway", "signature", "not_canonical"])
async def test_a_wrong_settle_batch_fails_the_link_and_settles_nothing(
    empty: Network, name: str
) -> None:
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        await one.begin(job)
        await one.token(job)
        await _settle_wrongly(one, job, name)
        async with asyncio.timeout(5):
            await one.closed.wait()
        assert one.goaways[-1].code in {"bad_receipt", "bad_signature", "not_canonical"}
        assert await empty.context.store.receipts_of(asked.c) == []
        assert await empty.balance() == asked.before


async def test_one_workers_batch_does_not_prove_anothers_statement(empty: Network) -> None:
    async with liar(empty) as one, liar(empty) as other, asking(empty, one) as asked:
        job = await one.job()
        await one.begin(job)
        await one.token(job)
        statement = one.statement(job)
        await one.finish(job, statement, settle=False)
        await asked.task
        other.settle([statement])
        await other.flush()
        await other.document(LinkType.PING, bytes(8))
        async with asyncio.timeout(5):
            while not other.pongs:
                await asyncio.sleep(0.01)
        assert await empty.context.store.receipts_of(asked.c) == []
        one.settle([statement])
        await one.flush()
        (receipt,) = await judged(empty, asked.c)
        assert receipt.disposition is Disposition.BILLED


@pytest.mark.spec("1.5-d")
async def test_a_settle_batch_may_come_before_the_statements_it_proves(empty: Network) -> None:
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        await one.begin(job)
        await one.token(job)
        statement = one.statement(job)
        one.settle([statement])
        await one.flush()
        await one.finish(job, statement, settle=False)
        await asked.task
        (receipt,) = await judged(empty, asked.c)
        assert receipt.disposition is Disposition.BILLED
