"""The unmodified OpenAI SDK over the sealed transports: it notices nothing but the proof."""

import asyncio
from typing import Any

import httpx
import msgspec
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from bombyx.client import transport_httpx, transport_httpx2
from bombyx.client.session import Session
from tests.bombyx.client.conftest import Heard
from tests.bombyx.client.peer import ANSWER, Peer
from tests.factories import MODEL

PROMPT = "canary-prompt: tell me of the silkworm"
ASK: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}]}
WITH_USAGE: Any = {"include_usage": True}


async def test_a_whole_answer_carries_its_verified_receipt(
    sdk: AsyncOpenAI, peer: Peer, heard: Heard
) -> None:
    answer = await sdk.chat.completions.create(**ASK)
    assert answer.choices[0].message.content == ANSWER
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 50
    told: Any = answer.usage.bombyx
    statement = heard.receipts[0].receipt.statement
    assert told["verified"] is True
    assert told["tier"] == "sealed"
    assert (told["id"], told["worker"]) == (statement.id, statement.worker)
    assert told["charge_nano"] == statement.charge_nano
    assert told["receipt_hash"] == heard.receipts[0].receipt_hash
    assert peer.opened[0].body["messages"][0]["content"] == PROMPT
    assert not peer.saw("canary")


async def test_a_stream_arrives_and_ends_with_the_proof(sdk: AsyncOpenAI, peer: Peer) -> None:
    stream = await sdk.chat.completions.create(**ASK, stream=True, stream_options=WITH_USAGE)
    chunks = [chunk async for chunk in stream]
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text.strip() == ANSWER
    last = chunks[-1]
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.bombyx["verified"] is True
    assert not peer.saw("canary")


async def test_a_stream_without_usage_ends_verified_too(sdk: AsyncOpenAI, heard: Heard) -> None:
    stream = await sdk.chat.completions.create(**ASK, stream=True)
    assert len([chunk async for chunk in stream]) == len(ANSWER.split()) + 1
    assert len(heard.receipts) == 1


async def test_tokens_are_passed_on_while_the_worker_still_writes(
    sdk: AsyncOpenAI, peer: Peer
) -> None:
    peer.pause = 0.05
    loop = asyncio.get_running_loop()
    begun = loop.time()
    stream = await sdk.chat.completions.create(**ASK, stream=True)
    times = [loop.time() - begun async for _ in stream]
    assert times[0] < times[-1] - 0.25


async def test_leaving_a_stream_closes_the_request_at_the_gateway(
    sdk: AsyncOpenAI, peer: Peer
) -> None:
    peer.pause = 0.1
    stream = await sdk.chat.completions.create(**ASK, stream=True)
    async for _ in stream:
        break
    await stream.close()
    await asyncio.wait_for(peer.left.wait(), 1)


async def test_raw_responses_show_headers_that_the_client_vouches_for(sdk: AsyncOpenAI) -> None:
    raw = await sdk.chat.completions.with_raw_response.create(**ASK)
    assert raw.headers["x-bombyx-tier"] == "sealed"
    assert raw.headers["x-request-id"] == "req-1"
    told: Any = raw.parse().usage.bombyx
    assert raw.headers["x-bombyx-id"] == told["id"]
    assert raw.headers["x-bombyx-worker"] == told["worker"]


class Moth(BaseModel):
    name: str
    legs: int


async def test_parse_gives_the_structured_answer(sdk: AsyncOpenAI, peer: Peer) -> None:
    peer.script.text = msgspec.json.encode({"name": "Bombyx mori", "legs": 6}).decode()
    answer = await sdk.chat.completions.parse(**ASK, response_format=Moth)
    assert answer.choices[0].message.parsed == Moth(name="Bombyx mori", legs=6)


async def test_the_stream_helper_works(sdk: AsyncOpenAI) -> None:
    async with sdk.chat.completions.stream(**ASK) as stream:
        final = await stream.get_final_completion()
    assert (final.choices[0].message.content or "").strip() == ANSWER


async def test_models_are_listed_in_clear(sdk: AsyncOpenAI, peer: Peer) -> None:
    assert [model.id async for model in await sdk.models.list()] == [MODEL]
    assert peer.received[-1].headers["authorization"] == "Bearer sk-test"


async def test_the_directory_and_its_verification_are_remembered(
    sdk: AsyncOpenAI, peer: Peer
) -> None:
    for _ in range(3):
        await sdk.chat.completions.create(**ASK)
    paths = [one.path for one in peer.received]
    assert paths.count("/v1/confidential/workers") == 1
    assert paths.count("/v1/chat/completions") == 3


async def test_nothing_of_the_sdk_but_the_key_goes_along(sdk: AsyncOpenAI, peer: Peer) -> None:
    await sdk.chat.completions.create(**ASK, extra_headers={"x-tenant": "canary-tenant"})
    assert set(peer.posts[0].headers) == {
        "host",
        "authorization",
        "user-agent",
        "accept-encoding",
        "content-type",
        "accept",
        "content-length",
    }


def ask_blocking(sdk: OpenAI) -> tuple[str, list[str]]:
    with sdk:
        whole = sdk.chat.completions.create(**ASK).choices[0].message.content or ""
        stream = sdk.chat.completions.create(**ASK, stream=True)
        return whole, [chunk.choices[0].delta.content or "" for chunk in stream]


async def test_the_blocking_sdk_works_over_the_same_session(
    session: Session, origin: str, peer: Peer
) -> None:
    timeout = transport_httpx2.DEFAULT_TIMEOUT
    client = transport_httpx2.sealed_client(session, timeout=timeout, transport=None)
    sdk = OpenAI(base_url=f"{origin}/v1", api_key="sk-test", http_client=client, max_retries=0)
    whole, words = await asyncio.to_thread(ask_blocking, sdk)
    assert whole == ANSWER == "".join(words).strip()
    assert not peer.saw("canary")


async def test_httpx_clients_of_older_sdks_get_the_same(session: Session, origin: str) -> None:
    timeout = transport_httpx.DEFAULT_TIMEOUT
    url, headers = f"{origin}/v1/chat/completions", {"authorization": "Bearer sk-test"}
    async with transport_httpx.sealed_async_client(
        session, timeout=timeout, transport=None
    ) as client:
        answer = await client.post(url, json=ASK, headers=headers)
    assert answer.json()["usage"]["bombyx"]["verified"] is True

    def blocking() -> httpx.Response:
        with transport_httpx.sealed_client(session, timeout=timeout, transport=None) as client:
            return client.post(url, json={**ASK, "stream": True}, headers=headers)

    streamed = await asyncio.to_thread(blocking)
    assert streamed.text.endswith("data: [DONE]\n\n")


@pytest.mark.spec("2.3-a", "2.4-a", "2.5-a")
@pytest.mark.parametrize("limit", [None, 40])
async def test_the_header_promises_limits_that_the_body_or_the_gateway_sets(
    sdk: AsyncOpenAI, peer: Peer, limit: int | None
) -> None:
    peer.script.tokens = msgspec.structs.replace(peer.script.tokens, completion=20)
    extra: dict[str, Any] = {} if limit is None else {"max_tokens": limit}
    await sdk.chat.completions.create(**ASK, **extra)
    header = peer.opened[0].head.header.header
    assert header.max_output_tokens == (limit or peer.default_output)
    assert header.stream is False
    assert header.path == "/v1/chat/completions"
    assert len(header.candidates) == 2
