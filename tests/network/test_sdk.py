"""The stock SDK, sync and async, straight at the gateway and through the sealing transport."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest
from pydantic import BaseModel

import bombyx
from tests.network.harness import MODEL, Network

pytestmark = pytest.mark.asyncio(loop_scope="module")

ASK: dict[str, Any] = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "say: four words are here"}],
}
BROKEN: dict[str, Any] = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "fault: cut\ncount: 20"}],
    "stream": True,
}


class City(BaseModel):
    name: str
    people: int


def sync_client(net: Network, tier: str) -> openai.OpenAI:
    http: httpx2.Client = (
        bombyx.http_client(policy=net.policy)
        if tier == "sealed"
        else httpx2.Client(trust_env=False)
    )
    return openai.OpenAI(
        base_url=net.base_url, api_key=net.api_key, http_client=http, max_retries=0
    )


def _all_of(client: openai.OpenAI) -> dict[str, Any]:
    """Everything that the synchronous SDK offers for a chat."""
    with client:
        raw = client.chat.completions.with_raw_response.create(**ASK)
        chunks = list(
            client.chat.completions.create(
                **ASK, stream=True, stream_options={"include_usage": True}
            )
        )
        with client.chat.completions.stream(**ASK) as stream:
            streamed = stream.get_final_completion()
        parsed = client.chat.completions.parse(
            model=MODEL,
            messages=[{"role": "user", "content": "a city as JSON"}],
            response_format=City,
        )
    return {
        "headers": raw.headers,
        "text": raw.parse().choices[0].message.content,
        "usage": chunks[-1].usage,
        "chunks": "".join(c.choices[0].delta.content or "" for c in chunks if c.choices),
        "streamed": streamed.choices[0].message.content,
        "parsed": parsed.choices[0].message.parsed,
    }


@pytest.mark.parametrize("tier", ["sealed", "bare"])
async def test_the_synchronous_sdk_has_all_it_expects(shared: Network, tier: str) -> None:
    found = await asyncio.to_thread(_all_of, sync_client(shared, tier))
    assert found["text"].strip() == "four words are here"
    assert found["chunks"].strip() == found["streamed"].strip() == "four words are here"
    assert isinstance(found["parsed"], City)
    assert found["usage"].completion_tokens > 0
    assert found["headers"]["x-bombyx-tier"] == tier
    assert found["headers"]["x-bombyx-id"]
    assert found["headers"]["x-bombyx-worker"]
    assert found["headers"]["x-request-id"].startswith("req_")


@pytest.mark.parametrize("tier", ["sealed", "bare"])
async def test_the_asynchronous_stream_helper_works(shared: Network, tier: str) -> None:
    client = shared.sealed() if tier == "sealed" else shared.bare()
    async with client.chat.completions.stream(**ASK) as stream:
        final = await stream.get_final_completion()
    assert (final.choices[0].message.content or "").strip() == "four words are here"


@pytest.mark.parametrize("include", [True, False])
async def test_bare_streams_pass_the_usage_chunk_on_where_it_was_asked_for(
    shared: Network, include: bool
) -> None:
    stream = await shared.bare().chat.completions.create(
        **ASK, stream=True, stream_options={"include_usage": include}
    )
    chunks = [chunk async for chunk in stream]
    assert any(chunk.usage is not None for chunk in chunks) is include


async def _read(create: Callable[..., Any]) -> None:
    async for _ in await create(**BROKEN):
        pass


@pytest.mark.parametrize("tier", ["sealed", "bare"])
async def test_a_broken_stream_is_an_error_event(shared: Network, tier: str) -> None:
    client = shared.sealed() if tier == "sealed" else shared.bare()
    with pytest.raises(openai.APIError) as caught:
        await _read(client.chat.completions.create)
    assert caught.value.code == "engine_failed"
    await shared.settled()
    assert await shared.context.store.billing_gap() == 0
