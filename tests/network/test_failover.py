"""Who is asked next, who is paid, and what a client hears when nobody answers (SPEC 6.2, 6.3)."""

import asyncio
from typing import Any

import msgspec
import pytest

from bombyx import canonical
from bombyx.envelope.documents import RelayNote
from bombyx.envelope.frames import FrameSplitter, FrameType, encode_frame
from bombyx.link.documents import SignedRefusal
from bombyx.link.frames import LinkType
from bombyx.money.statement import Status
from bombyx.signing import Kind, verify
from gateway.metering.rows import Disposition
from tests.network.asking import (
    asking,
    ended_open,
    first_of,
    judged,
    note_of,
    settled,
)
from tests.network.harness import Network
from tests.network.liar import Job, Liar, liar, replacing
from tests.network.requests import error_of, post

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def answer_whole(one: Liar, job: Job) -> int:
    """An honest answer; what it charges."""
    await one.begin(job)
    await one.token(job)
    statement = one.statement(job)
    await one.finish(job, statement)
    return int(statement.charge_nano)


@pytest.mark.spec("6.3-a")
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


@pytest.mark.spec("6.6-a")
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


@pytest.mark.spec("18-b")
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


@pytest.mark.spec("18-b", "6.3-b")
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


@pytest.mark.spec("6.4-a")
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
