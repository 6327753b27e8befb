"""What the openai SDK must be able to do, of any major version: run with that version on the path.

python sdk_cases.py URL MODEL KEY NARROW_KEY POOR_KEY     prints one JSON document
"""

import asyncio
import base64
import contextlib
import functools
import json
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import openai
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

URL, MODEL, KEY, NARROW_KEY, POOR_KEY = sys.argv[1:6]
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": name,
            "strict": True,
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }
    for name in ("get_weather", "get_time")
]
BOTH = 'Call get_weather and get_time with city="Paris"'
CASES: list[Callable[[], None]] = []


class City(BaseModel):
    name: str
    people: int


def case(run: Callable[[], None]) -> Callable[[], None]:
    CASES.append(run)
    return run


def sdk(key: str = KEY, retries: int = 0, **options: Any) -> Any:
    return OpenAI(base_url=URL, api_key=key, max_retries=retries, **options)


def said(text: str) -> Any:
    return [{"role": "user", "content": text}]


def caught(kind: type[Exception], run: Callable[[], Any]) -> Any:
    try:
        run()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


@case
def models_are_listed_and_found() -> None:
    assert MODEL in [one.id for one in sdk().models.list()]
    assert sdk().models.retrieve(MODEL).id == MODEL


@case
def a_whole_answer() -> None:
    answer = sdk().chat.completions.create(model=MODEL, messages=said("say: a b"))
    assert answer.choices[0].message.content == "a b"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 2
    assert answer.usage.prompt_tokens_details.cached_tokens == 0
    assert answer._request_id.startswith("req_")


@case
def a_stream_with_usage() -> None:
    options: Any = {"include_usage": True}
    stream = sdk().chat.completions.create(
        model=MODEL, messages=said("count: 5"), stream=True, stream_options=options
    )
    chunks = list(stream)
    text = "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)
    assert text.split() == ["1", "2", "3", "4", "5"]
    assert [one.choices[0].finish_reason for one in chunks if one.choices].count("stop") == 1
    assert chunks[-1].usage.completion_tokens == 5


@case
def a_naive_stream() -> None:
    stream = sdk().chat.completions.create(model=MODEL, messages=said("say: é 🐝"), stream=True)
    assert "".join(one.choices[0].delta.content or "" for one in stream) == "é 🐝"


@case
def an_asynchronous_stream() -> None:
    async def ask() -> str:
        async with AsyncOpenAI(base_url=URL, api_key=KEY, max_retries=0) as client:
            stream: Any = await client.chat.completions.create(
                model=MODEL, messages=said("say: a b"), stream=True
            )
            return "".join([one.choices[0].delta.content or "" async for one in stream])

    assert asyncio.run(ask()) == "a b"


@case
def the_stream_helper_follows_calls_in_parallel() -> None:
    with sdk().chat.completions.stream(model=MODEL, messages=said(BOTH), tools=TOOLS) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    calls = final.choices[0].message.tool_calls
    assert [call.function.name for call in calls] == ["get_weather", "get_time"]
    assert [call.function.parsed_arguments for call in calls] == [{"city": "Paris"}] * 2
    assert kinds.count("tool_calls.function.arguments.done") == 2


@case
def a_round_with_a_tool() -> None:
    client = sdk()
    first = client.chat.completions.create(model=MODEL, messages=said(BOTH), tools=TOOLS)
    message = first.choices[0].message
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": "fine"} for call in message.tool_calls
    ]
    history = [*said(BOTH), message, *results]
    second = client.chat.completions.create(model=MODEL, messages=history, tools=TOOLS)
    assert second.choices[0].message.content == "The tool says: fine"


@case
def an_answer_is_parsed() -> None:
    answer = sdk().chat.completions.parse(
        model=MODEL, messages=said('name is "Bern", people is 9'), response_format=City
    )
    assert answer.choices[0].message.parsed == City(name="Bern", people=9)


@case
def choices_and_log_probabilities() -> None:
    answer = sdk().chat.completions.create(
        model=MODEL, messages=said("say: a b"), n=3, logprobs=True, top_logprobs=2
    )
    assert [one.index for one in answer.choices] == [0, 1, 2]
    assert [one.token for one in answer.choices[2].logprobs.content] == ["a", " b"]


@case
def completions() -> None:
    whole = sdk().completions.create(model=MODEL, prompt=["say: a", "say: b"], max_tokens=5)
    assert [one.text for one in whole.choices] == ["a", "b"]
    stream = sdk().completions.create(model=MODEL, prompt="say: a b", stream=True)
    assert "".join(one.choices[0].text for one in stream) == "a b"


@case
def embeddings() -> None:
    packed = sdk().embeddings.create(model=MODEL, input=["a", "b"])
    plain = sdk().embeddings.create(model=MODEL, input=["a", "b"], encoding_format="float")
    for one, other in zip(packed.data, plain.data, strict=True):
        assert max(abs(a - b) for a, b in zip(one.embedding, other.embedding, strict=True)) < 1e-5


@case
def responses() -> None:
    answer = sdk().responses.create(model=MODEL, input="say: a b")
    assert (answer.output_text, answer.status) == ("a b", "completed")
    with sdk().responses.stream(model=MODEL, input="think: 2\nsay: a b") as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert final.output_text == "a b"
    assert final.usage.output_tokens_details.reasoning_tokens == 2
    parsed = sdk().responses.parse(model=MODEL, input='name is "Bern"', text_format=City)
    assert parsed.output_parsed.name == "Bern"


@case
def a_picture() -> None:
    dot = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
    url = {"url": f"data:image/png;base64,{dot}"}
    parts = [{"type": "text", "text": "say: a"}, {"type": "image_url", "image_url": url}]
    answer = sdk().chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": parts}]
    )
    assert answer.choices[0].message.content == "a"


@case
def errors_have_their_class_code_and_request_id() -> None:
    cases: Any = [
        (openai.AuthenticationError, "sk-none", {}, "invalid_api_key"),
        (openai.NotFoundError, KEY, {"model": "no-such-model"}, "model_not_found"),
        (openai.BadRequestError, KEY, {"extra_body": {"nope": 1}}, "unsupported_parameter"),
    ]
    for kind, key, changes, code in cases:
        asked = {"model": MODEL, "messages": said("hi"), **changes}
        error = caught(kind, functools.partial(sdk(key).chat.completions.create, **asked))
        assert error.code == code, error.code
        assert error.request_id.startswith("req_")
        assert error.message


@case
def a_broken_stream_is_raised() -> None:
    def ask() -> None:
        list(
            sdk().chat.completions.create(
                model=MODEL, messages=said("fault: cut\ncount: 20"), stream=True
            )
        )

    assert caught(openai.APIError, ask).code == "engine_failed"


@case
def who_is_limited_is_told_when_to_return() -> None:
    def ask() -> Any:
        raw = sdk(NARROW_KEY).chat.completions.with_raw_response
        return raw.create(model=MODEL, messages=said("say: a"))

    with contextlib.suppress(openai.RateLimitError):  # an earlier run of this minute was served
        assert ask().headers["x-ratelimit-limit-requests"] == "1"
    error = caught(openai.RateLimitError, ask)
    assert error.code == "rate_limit_exceeded"
    assert 0 < int(error.response.headers["retry-after"]) <= 60


@case
def who_cannot_pay_is_asked_once() -> None:
    tries = []
    hooks: Any = {"request": [lambda request: tries.append(request.url)]}
    client = sdk(
        POOR_KEY,
        retries=2,
        http_client=openai.DefaultHttpxClient(event_hooks=hooks, trust_env=False),
    )
    error = caught(
        openai.APIStatusError,
        lambda: client.chat.completions.create(model=MODEL, messages=said("count: 90")),
    )
    assert (error.status_code, error.code) == (402, "insufficient_quota")
    assert len(tries) == 1


@case
def a_key_of_idempotency_stands_for_one_request() -> None:
    headers = {"Idempotency-Key": f"conformance-{time.time_ns()}"}
    client = sdk()

    def ask(text: str) -> Any:
        return client.chat.completions.create(
            model=MODEL, messages=said(text), extra_headers=headers
        )

    ids = {ask("say: a").id}
    with contextlib.suppress(openai.ConflictError):  # a bare gateway keeps no answer to repeat
        ids.add(ask("say: a").id)
    assert len(ids) == 1
    assert caught(openai.ConflictError, lambda: ask("say: b")).code == "idempotency_conflict"


@case
def leaving_in_mid_stream() -> None:
    client = sdk()
    for _ in range(3):
        stream = client.chat.completions.create(
            model=MODEL, messages=said("pace: 20\ncount: 200"), stream=True
        )
        for _ in stream:
            break
        stream.close()
    answer = client.chat.completions.create(model=MODEL, messages=said("say: a"))
    assert answer.choices[0].message.content == "a"


def run(one: Callable[[], None]) -> dict[str, str]:
    try:
        one()
    except Exception as error:  # noqa: BLE001 - a boundary: every case is reported
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__} at line {where.lineno}: {error}"
        return {"name": one.__name__, "result": "fail", "said": said}
    return {"name": one.__name__, "result": "pass", "said": ""}


if __name__ == "__main__":
    found = {"version": openai.__version__, "cases": [run(one) for one in CASES]}
    sys.stdout.write(json.dumps(found) + "\n")
