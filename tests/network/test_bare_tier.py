"""The bare tier with a worker that fails, lies or talks at length (SPEC 15)."""

import asyncio
import json
from typing import Any

import httpx2
import pytest

from bombyx import canonical
from bombyx.envelope.documents import ResponseHead
from bombyx.envelope.frames import FrameType, encode_frame
from bombyx.link.frames import LinkType
from bombyx.money.statement import Status
from gateway.inference import bare as bare_tier
from gateway.metering.rows import Disposition
from tests.network.asking import (
    first_of,
    judged,
)
from tests.network.harness import Network
from tests.network.liar import liar, replacing
from tests.network.requests import body, error_of, post

pytestmark = pytest.mark.asyncio(loop_scope="module")


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
