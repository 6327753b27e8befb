"""Every path of the surface with the stock SDK, bare and sealed alike, billed as signed."""

import json
from typing import Any

import httpx2
import openai
import pytest
from pydantic import BaseModel

import bombyx
from tests.network.harness import MODEL, Network
from tests.network.requests import bearer, error_of

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.parametrize("tier", ["sealed", "bare"]),
]

PIXEL = "data:image/png;base64,iVBORw0KGgo="
TOOLS: Any = [
    {"type": "function", "name": name, "parameters": {"type": "object", "properties": {}}}
    for name in ("get_weather", "get_time")
]
BOTH = "call get_weather and get_time"


class City(BaseModel):
    name: str
    people: int


def sdk(net: Network, tier: str) -> openai.AsyncOpenAI:
    return net.sealed() if tier == "sealed" else net.bare()


async def post(
    net: Network, tier: str, path: str, body: Any, headers: dict[str, str] | None = None
) -> httpx2.Response:
    """Raw HTTP, through the sealing transport where the tier is sealed."""
    http: httpx2.AsyncClient = (
        bombyx.async_http_client(policy=net.policy)
        if tier == "sealed"
        else httpx2.AsyncClient(trust_env=False)
    )
    told = {"content-type": "application/json", **(headers or bearer(net.api_key))}
    async with http as client:
        return await client.post(
            f"{net.base_url}/{path}", content=json.dumps({"model": MODEL, **body}), headers=told
        )


def events(answer: httpx2.Response) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for block in answer.text.strip().split("\n\n"):
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def said(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


async def balance(net: Network) -> int:
    await net.settled()
    return await net.balance()


async def billed(net: Network, before: int) -> int:
    await net.settled()
    assert await net.context.store.billing_gap() == 0
    return before - await net.balance()


async def test_completions(shared: Network, tier: str) -> None:
    client = sdk(shared, tier)
    whole = await client.completions.create(
        model=MODEL, prompt=["say: a b", "say: c"], n=2, logprobs=1, max_tokens=9
    )
    assert [choice.text for choice in whole.choices] == ["a b", "a b", "c", "c"]
    assert whole.choices[0].logprobs is not None
    assert whole.choices[0].logprobs.tokens == ["a", " b"]
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 6
    assert whole.id.startswith("cmpl-")
    stream = await client.completions.create(
        model=MODEL,
        prompt="say: a b",
        echo=True,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(one.choices[0].text for one in chunks if one.choices) == "say: a ba b"
    reasons = [one.choices[0].finish_reason for one in chunks if one.choices]
    assert [reason for reason in reasons if reason] == ["stop"]
    assert chunks[-1].usage is not None


async def test_embeddings_bill_their_prompt_alone(shared: Network, tier: str) -> None:
    client, before = sdk(shared, tier), await balance(shared)
    packed = await client.embeddings.create(model=MODEL, input=["silk", "a moth"], dimensions=4)
    plain = await client.embeddings.create(
        model=MODEL, input=["silk", "a moth"], dimensions=4, encoding_format="float"
    )
    assert packed.usage.prompt_tokens == packed.usage.total_tokens == 5
    for one, other in zip(packed.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
        assert len(one.embedding) == 4
    assert await billed(shared, before) > 0


async def test_responses(shared: Network, tier: str) -> None:
    client = sdk(shared, tier)
    answer = await client.responses.create(
        model=MODEL,
        instructions="be kind",
        input=[
            {
                "role": "user",
                "content": [
                    {"type": "input_image", "image_url": PIXEL, "detail": "low"},
                    {"type": "input_text", "text": "think: 2\nsay: hello there"},
                ],
            }
        ],
        store=True,
        metadata={"a": "b"},
    )
    assert answer.output_text == "hello there"
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    assert (answer.status, answer.metadata) == ("completed", {"a": "b"})
    assert answer.model_extra is not None
    assert answer.model_extra["store"] is False
    assert answer.usage is not None
    assert answer.usage.output_tokens_details.reasoning_tokens == 2
    parsed = await client.responses.parse(model=MODEL, input="a city as JSON", text_format=City)
    assert isinstance(parsed.output_parsed, City)


async def test_the_responses_stream_helper_follows_every_event(shared: Network, tier: str) -> None:
    kinds, numbers = [], []
    async with sdk(shared, tier).responses.stream(
        model=MODEL, input="think: 1\nsay: hello there"
    ) as stream:
        async for event in stream:
            kinds.append(event.type)
            numbers.append(event.sequence_number)
        final = await stream.get_final_response()
    assert final.output_text == "hello there"
    assert kinds[0] == "response.created"
    assert kinds.count("response.completed") == 1
    assert kinds[-1] == "response.completed"
    assert numbers == list(range(len(numbers)))
    assert final.usage is not None
    assert (tier == "sealed") == ("bombyx" in (final.usage.model_extra or {}))


async def test_calls_in_parallel_and_their_outputs(shared: Network, tier: str) -> None:
    client = sdk(shared, tier)
    first = await client.responses.create(model=MODEL, input=BOTH, tools=TOOLS)
    calls = [item for item in first.output if item.type == "function_call"]
    assert [call.name for call in calls] == ["get_weather", "get_time"]
    history: Any = [{"role": "user", "content": BOTH}]
    history += [item.model_dump(exclude_none=True) for item in first.output]
    history += [
        {"type": "function_call_output", "call_id": call.call_id, "output": "fine"}
        for call in calls
    ]
    second = await client.responses.create(model=MODEL, input=history, tools=TOOLS)
    assert second.output_text == "The tool says: fine"
    single = await client.responses.create(
        model=MODEL, input=BOTH, tools=TOOLS, parallel_tool_calls=False
    )
    assert len(single.output) == 1
    async with client.responses.stream(model=MODEL, input=BOTH, tools=TOOLS) as stream:
        final = await stream.get_final_response()
    assert [getattr(item, "name", "") for item in final.output] == ["get_weather", "get_time"]


async def test_nothing_is_kept_between_responses(shared: Network, tier: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await sdk(shared, tier).responses.create(
            model=MODEL, input="hi", previous_response_id="resp_1"
        )
    assert caught.value.code == "unsupported_value"


async def test_a_cut_response_is_incomplete(shared: Network, tier: str) -> None:
    answer = await sdk(shared, tier).responses.create(
        model=MODEL, input="count: 20", max_output_tokens=3
    )
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"


async def test_a_broken_response_stream_is_raised(shared: Network, tier: str) -> None:
    stream = await sdk(shared, tier).responses.create(
        model=MODEL, input="fault: cut\ncount: 20", stream=True
    )
    with pytest.raises(openai.APIError) as caught:
        [event async for event in stream]
    assert caught.value.code == "engine_failed"
    await shared.settled()
    assert await shared.context.store.billing_gap() == 0


async def test_messages_whole_and_streamed(shared: Network, tier: str) -> None:
    body = {
        "max_tokens": 50,
        "system": [{"type": "text", "text": "be kind"}],
        "messages": [{"role": "user", "content": "think: 1\nsay: hello there"}],
    }
    key = {"x-api-key": shared.api_key, "anthropic-version": "2023-06-01"}
    whole = (await post(shared, tier, "messages", body, key)).json()
    assert [block["type"] for block in whole["content"]] == ["thinking", "text"]
    assert whole["content"][1]["text"] == "hello there"
    assert (whole["stop_reason"], whole["usage"]["output_tokens"]) == ("end_turn", 3)
    told = events(await post(shared, tier, "messages", {**body, "stream": True}, key))
    assert all(name == event["type"] for name, event in told)
    assert told[0][0] == "message_start"
    assert [name for name, _ in told][-2:] == ["message_delta", "message_stop"]
    deltas = [one["delta"] for name, one in told if name == "content_block_delta"]
    assert "".join(one.get("text", "") for one in deltas) == "hello there"
    usage = told[-2][1]["usage"]
    assert usage["output_tokens"] == 3
    assert (tier == "sealed") == ("bombyx" in usage)


async def test_a_broken_message_stream_ends_in_anthropics_error(shared: Network, tier: str) -> None:
    body = {
        "max_tokens": 50,
        "stream": True,
        "messages": [{"role": "user", "content": "fault: cut\ncount: 20"}],
    }
    name, event = events(await post(shared, tier, "messages", body))[-1]
    assert (name, event["type"]) == ("error", "error")
    assert event["error"]["type"] == "api_error"
    assert event["error"]["code"] == "engine_failed"


async def test_tokens_and_back_cost_nothing(shared: Network, tier: str) -> None:
    before = await balance(shared)
    told = (await post(shared, tier, "tokenize", {"prompt": "a cocoon"})).json()
    assert told["count"] == len(told["tokens"])
    text = await post(shared, tier, "detokenize", {"tokens": told["tokens"]})
    assert text.json()["text"] == "a cocoon"
    assert await billed(shared, before) == 0


async def test_one_model_is_shown_and_another_is_not(shared: Network, tier: str) -> None:
    client = sdk(shared, tier)
    assert (await client.models.retrieve(MODEL)).id == MODEL
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("no/such-model")


FAR = "http://127.0.0.1:1/x.png"
FETCHES: list[tuple[str, Any]] = [
    ("responses", {"input": [said([{"type": "input_image", "image_url": FAR}])]}),
    (
        "messages",
        {
            "max_tokens": 5,
            "messages": [said([{"type": "image", "source": {"type": "url", "url": FAR}}])],
        },
    ),
]


@pytest.mark.parametrize(("path", "body"), FETCHES)
async def test_no_address_in_a_request_is_fetched(
    shared: Network, tier: str, path: str, body: Any
) -> None:
    answer = await post(shared, tier, path, body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "unsupported_value"


@pytest.mark.parametrize("path", ["completions", "embeddings", "responses", "messages", "tokenize"])
async def test_an_unknown_field_is_refused_on_every_path(
    shared: Network, tier: str, path: str
) -> None:
    answer = await post(shared, tier, path, {"surprise": 1})
    assert answer.status_code == 400
    if tier == "bare":
        assert error_of(answer) == (400, "unsupported_parameter")
