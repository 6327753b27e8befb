"""How each check can be broken: for every name, answers that must make it fail."""

import base64
import json
from collections.abc import Callable
from typing import Any

from tests.bombyx.conformance.wrong import Mutation, Passing, unchanged

Path = tuple[str | int, ...]
DONE = b"data: [DONE]"


def whole(change: Callable[[Any], None], *, asks: str = "") -> Mutation:
    """Alter the JSON of whole answers with 200, of requests that hold `asks`."""

    def mutate(passing: Passing) -> None:
        if passing.is_stream or passing.status != 200 or asks not in json.dumps(passing.asked):
            return
        document = passing.document
        change(document)
        passing.document = document

    return mutate


def put(value: Any, *path: str | int, asks: str = "") -> Mutation:
    """Give the member at a path another value; a function makes it of the old one."""

    def change(document: Any) -> None:
        *before, last = path
        for step in before:
            document = document[step]
        document[last] = value(document[last]) if callable(value) else value

    return whole(change, asks=asks)


def drop(*path: str | int) -> Mutation:
    def change(document: Any) -> None:
        *before, last = path
        for step in before:
            document = document[step]
        del document[last]

    return whole(change)


def events(change: Callable[[list[bytes]], list[bytes]]) -> Mutation:
    """Alter the events of streams."""

    def mutate(passing: Passing) -> None:
        if passing.is_stream:
            passing.events = change(passing.events)

    return mutate


def chunk(value: Any, *path: str | int, at: int = 1) -> Mutation:
    """Give a member of one event's JSON another value."""

    def change(found: list[bytes]) -> list[bytes]:
        document = json.loads(found[at].removeprefix(b"data: "))
        inner = document
        *before, last = path
        for step in before:
            inner = inner[step]
        inner[last] = value
        found[at] = b"data: " + json.dumps(document).encode()
        return found

    return events(change)


def swap(old: bytes, new: bytes, *, streams: bool | None = None) -> Mutation:
    """Replace bytes of bodies: of all, of streams only, of whole ones only."""

    def mutate(passing: Passing) -> None:
        if streams in (None, passing.is_stream):
            passing.content = passing.content.replace(old, new)

    return mutate


def status(code: int, *, instead_of: int = 200, method: str = "") -> Mutation:
    def mutate(passing: Passing) -> None:
        if passing.status == instead_of and method in ("", passing.method):
            passing.status = code

    return mutate


def framework(code: int) -> Mutation:
    """A web framework's own error in place of what should come."""

    def mutate(passing: Passing) -> None:
        passing.status, passing.document = code, {"detail": "Bad Request"}

    return mutate


def mute(passing: Passing) -> None:
    """An error in which OpenAI's SDKs find no text."""
    if passing.status >= 400:
        passing.document = {"error": {"type": "x", "code": None, "param": None}}


def header(name: str, value: str | None) -> Mutation:
    def mutate(passing: Passing) -> None:
        passing.headers.pop(name, None)
        if value is not None:
            passing.headers[name] = value

    return mutate


def served(passing: Passing) -> None:
    """An answer as if all had been well."""
    passing.status, passing.document = 200, {"choices": []}


def garbled(passing: Passing) -> None:
    if not passing.is_stream:
        passing.document = _latin(passing.document)


def _latin(document: Any) -> Any:
    message = document["choices"][0]["message"]
    message["content"] = message["content"].encode().decode("latin-1")
    return document


def twice(*path: str) -> Mutation:
    """Repeat the first entry of a list."""

    def change(document: Any) -> None:
        for step in path:
            document = document[int(step)] if step.isdigit() else document[step]
        document.append(document[0])

    return whole(change)


def gone_after_streams() -> Mutation:
    """Streams that begin, and no answer to anything else."""

    def mutate(passing: Passing) -> None:
        if not passing.is_stream:
            passing.status, passing.headers = 500, {"x-should-retry": "false"}

    return mutate


def never_told_when(passing: Passing) -> None:
    for name in ("retry-after", "retry-after-ms"):
        passing.headers.pop(name, None)


def second_fails() -> Mutation:
    seen: list[str] = []

    def mutate(passing: Passing) -> None:
        seen.append(passing.path)
        if len(seen) == 2:
            passing.status = 500

    return mutate


def third_is_served() -> Mutation:
    seen: list[str] = []

    def mutate(passing: Passing) -> None:
        seen.append(passing.path)
        if len(seen) == 3:
            served(passing)

    return mutate


def remove_last_choice(document: Any) -> None:
    document["choices"].pop()


def without(found: list[bytes], mark: bytes) -> list[bytes]:
    return [event for event in found if mark not in event]


def doubled(found: list[bytes], mark: bytes) -> list[bytes]:
    return [one for event in found for one in ([event, event] if mark in event else [event])]


MESSAGE: Path = ("choices", 0, "message")
CALL: Path = (*MESSAGE, "tool_calls", 0)
REASON: Path = ("choices", 0, "finish_reason")
USAGE_CHUNK = b'"choices":[],'
REFUSED = [framework(400), status(500)]
NO_ENVELOPE = [framework(400), mute, served]

MUTATIONS: dict[str, list[Mutation]] = {
    "models_are_listed": [
        put("models", "object"),
        put(7, "data", 0, "owned_by"),
        put(lambda seconds: seconds * 1000, "data", 0, "created"),
        put("another", "data", 0, "id"),
    ],
    "one_model_is_shown": [put("another", "id"), framework(404)],
    "a_model_of_nobody_is_not_found": [served, framework(404), mute],
    "a_chat_answer_has_its_form": [
        put("chat", "object"),
        drop("id"),
        put(1.5, "created"),
        put("user", *MESSAGE, "role"),
        put(None, *MESSAGE, "content"),
        put("", *MESSAGE, "content"),
        twice("choices"),
    ],
    "a_chat_answer_says_why_it_ended": [put("eos", *REASON), put("length", *REASON), drop(*REASON)],
    "tokens_are_counted": [
        put(lambda total: total + 1, "usage", "total_tokens"),
        drop("usage"),
        put("5", "usage", "prompt_tokens"),
    ],
    "cached_and_reasoning_tokens_are_parts": [
        put(9999, "usage", "prompt_tokens_details", "cached_tokens"),
        put(-1, "usage", "completion_tokens_details", "reasoning_tokens"),
    ],
    "every_role_is_read": REFUSED,
    "content_may_come_in_parts": REFUSED,
    "null_is_as_if_absent": REFUSED,
    "bookkeeping_fields_are_taken": REFUSED,
    "images_come_as_data_urls": [*REFUSED, put(None, *MESSAGE, "content")],
    "reasoning_is_asked_for_and_counted": [
        *REFUSED,
        put(0, "usage", "completion_tokens_details", "reasoning_tokens"),
        put(" 1 2 3", *MESSAGE, "content"),
    ],
    "text_of_any_script_survives": [
        garbled,
        put("\ufffd", *MESSAGE, "content"),
        put("🐝", *MESSAGE, "content"),
    ],
    "a_stream_is_server_sent_events": [
        header("content-type", "application/json"),
        events(lambda found: [b"event: chunk\n" + event for event in found]),
        events(lambda found: [event.replace(b',"object', b',\ndata: "object') for event in found]),
        events(lambda found: [found[0][:-5], *found[1:]]),
        events(lambda _: [DONE]),
    ],
    "a_stream_ends_with_done": [
        events(lambda found: found[:-1]),
        events(lambda found: [*found, found[0]]),
        events(lambda found: [*found, DONE]),
    ],
    "every_chunk_belongs_to_one_answer": [
        chunk("another", "id"),
        chunk(1_700_000_000, "created"),
        chunk("another", "model"),
        chunk("chat.completion", "object"),
    ],
    "the_role_comes_first": [
        chunk({"content": ""}, "choices", 0, "delta", at=0),
        events(lambda found: [found[0], *found[-2:]]),
    ],
    "each_choice_ends_once": [
        events(lambda found: without(found, b'"stop"')),
        events(lambda found: doubled(found, b'"stop"')),
        swap(b'"stop"', b'"eos"'),
        events(lambda found: [found[0], found[-3], *found[1:-3], *found[-2:]]),
        events(lambda found: [found[0], b'data: {"error":{"message":"cut"}}']),
    ],
    "usage_comes_in_the_last_chunk": [
        events(lambda found: without(found, USAGE_CHUNK)),
        chunk({"total_tokens": 1}, "usage"),
        swap(b'"total_tokens":', b'"total_tokens":1'),
    ],
    "usage_comes_only_when_asked_for": [
        chunk([], "choices"),
        chunk({"total_tokens": 1}, "usage"),
    ],
    "streamed_tokens_are_counted_alike": [
        swap(b'"prompt_tokens":', b'"prompt_tokens":1', streams=True)
    ],
    "letters_are_never_torn": [
        swap("🦋".encode(), b"\xef\xbf\xbd"),
        swap("🦋".encode(), "🦋".encode()[:2]),
        swap("🦋".encode(), b"\\ud83e"),
    ],
    "a_stream_is_not_held_back": [unchanged],
    "a_bad_request_is_refused_before_the_stream": [served, framework(400), mute],
    "a_cut_stream_ends_in_length": [swap(b'"length"', b'"stop"')],
    "max_tokens_is_kept": [
        put("stop", *REASON),
        put(99, "usage", "completion_tokens"),
        framework(400),
    ],
    "max_completion_tokens_is_kept": [
        put("stop", *REASON),
        put(99, "usage", "completion_tokens"),
        framework(400),
    ],
    "a_stop_sequence_ends_the_answer": [
        put("1 2 3 4 5", *MESSAGE, "content"),
        put("length", *REASON),
        put("length", *REASON, asks="never said"),
    ],
    "n_choices_are_made": [
        whole(remove_last_choice),
        put(0, "choices", 1, "index"),
        framework(400),
    ],
    "n_choices_are_streamed": [
        swap(b'"index":1', b'"index":0', streams=True),
        events(lambda found: [event for event in found if b'"index":1' not in event]),
        events(lambda found: without(found, b'"stop"')),
        framework(400),
    ],
    "log_probabilities_are_given": [
        put(0.5, "choices", 0, "logprobs", "content", 0, "logprob"),
        put(None, "choices", 0, "logprobs"),
        put([{}] * 3, "choices", 0, "logprobs", "content", 0, "top_logprobs"),
        put([{"token": "x"}], "choices", 0, "logprobs", "content", 0, "top_logprobs"),
        put("other", "choices", 0, "logprobs", "content", 0, "token"),
        framework(400),
    ],
    "log_probabilities_are_streamed": [
        swap(b'"logprob":-', b'"logprob":', streams=True),
        swap(b'"logprobs":{"content"', b'"logprobs":{"none"', streams=True),
        framework(400),
    ],
    "a_tool_is_called": [
        put("stop", *REASON),
        put("{broken", *CALL, "function", "arguments"),
        put("[]", *CALL, "function", "arguments"),
        put({"city": "Paris"}, *CALL, "function", "arguments"),
        put("", *CALL, "id"),
        put("tool", *CALL, "type"),
        put("get_lost", *CALL, "function", "name"),
        put([], *MESSAGE, "tool_calls"),
        framework(400),
    ],
    "a_named_tool_is_called": [put("get_weather", *CALL, "function", "name"), framework(400)],
    "no_tool_is_called_against_the_word": [
        put([{"id": "call_1"}], *MESSAGE, "tool_calls"),
        put(None, *MESSAGE, "content"),
        framework(400),
    ],
    "a_call_is_streamed": [
        swap(b'"tool_calls"', b'"calls"', streams=True),
        swap(b'"finish_reason":"tool_calls"', b'"finish_reason":"stop"', streams=True),
        swap(b'{\\"city\\"', b'{\\"city', streams=True),
        swap(b'[{"index":0,"id"', b'[{"index":1,"id"', streams=True),
        events(lambda found: [found[0], found[1], *_renamed(found[2:])]),
        framework(400),
    ],
    "calls_come_in_parallel": [
        put(lambda calls: [{**call, "id": "call_1"} for call in calls], *MESSAGE, "tool_calls"),
        framework(400),
    ],
    "parallel_calls_are_streamed_apart": [
        swap(b'"id":"call_', b'"id":"call_1", "was":"', streams=True),
        swap(b'{\\"city\\"', b'{\\"city', streams=True),
        framework(400),
    ],
    "one_call_at_a_time_if_asked": [
        twice("choices", "0", "message", "tool_calls"),
        framework(400),
    ],
    "a_result_is_answered": [
        put("length", *REASON, asks="sunny"),
        put(None, *MESSAGE, "content", asks="sunny"),
        framework(400),
    ],
    "json_follows_its_schema": [
        put('{"name": "Paris"}', *MESSAGE, "content"),
        put('{"name": "Paris", "people": "many"}', *MESSAGE, "content"),
        put('{"name": "Paris", "people": 2, "more": 1}', *MESSAGE, "content"),
        put('```json\n{"name": "Paris", "people": 2}```', *MESSAGE, "content"),
        framework(400),
    ],
    "streamed_json_follows_its_schema": [
        swap(b'\\"people\\"', b'\\"persons\\"', streams=True),
        swap(b'{\\"name\\"', b'{\\"name', streams=True),
        framework(400),
    ],
    "json_mode_answers_an_object": [
        put("[]", *MESSAGE, "content"),
        put("Sure!", *MESSAGE, "content"),
        framework(400),
    ],
    "an_embedding_has_its_form": [
        put("lists", "object"),
        put(1, "data", 0, "index"),
        put([], "data", 0, "embedding"),
        put(["0.5"], "data", 0, "embedding"),
        put(0, "usage", "prompt_tokens"),
        put("vector", "data", 0, "object"),
        framework(400),
    ],
    "many_texts_keep_their_order": [
        put(
            lambda data: [{**data[0], "index": 0}, {**data[0], "index": 1}, data[2]],
            "data",
            asks="cocoon",
        ),
        put(lambda data: data[:2], "data", asks="cocoon"),
        put(lambda data: [{**data[1], "index": 0}, *data[1:]], "data", asks="cocoon"),
        framework(400),
    ],
    "vectors_come_packed": [
        put("!!!!", "data", 0, "embedding", asks="base64"),
        put([0.5], "data", 0, "embedding", asks="base64"),
        put(lambda text: text[8:], "data", 0, "embedding", asks="base64"),
        put(base64.b64encode(b"abcde").decode(), "data", 0, "embedding", asks="base64"),
        framework(400),
    ],
    "a_vector_can_be_shorter": [
        put(lambda vector: [*vector, 0.0], "data", 0, "embedding"),
        framework(400),
    ],
    "a_completion_has_its_form": [
        put("chat.completion", "object"),
        drop("choices", 0, "text"),
        put(None, *REASON),
        put("eos", *REASON),
        put(0, "usage", "completion_tokens"),
        framework(400),
    ],
    "every_prompt_is_completed": [whole(remove_last_choice), framework(400)],
    "a_completion_is_streamed": [
        events(lambda found: found[:-1]),
        events(lambda found: without(found, b'"stop"')),
        swap(b'"text"', b'"delta"', streams=True),
        events(lambda found: without(found, USAGE_CHUNK)),
        framework(400),
    ],
    "a_response_has_its_form": [
        put("done", "status"),
        put([], "output"),
        put("resp", "object"),
        put({"code": "x"}, "error"),
        put(0, "usage", "total_tokens"),
        framework(400),
    ],
    "a_response_is_streamed": [
        swap(b'"sequence_number":0', b'"sequence_number":9', streams=True),
        events(lambda found: found[:-1]),
        events(lambda found: found[1:]),
        events(lambda found: [event.partition(b"\n")[2] for event in found]),
        swap(b'"delta":"hello', b'"delta":"hi', streams=True),
        framework(400),
    ],
    "a_response_calls_a_function": [
        put(lambda items: [{**one, "arguments": "{"} for one in items], "output"),
        put(lambda items: [{**one, "arguments": "[]"} for one in items], "output"),
        put(lambda items: [{**one, "name": "other"} for one in items], "output"),
        put([], "output"),
        put("failed", "status", asks="sunny"),
        framework(400),
    ],
    "a_response_follows_a_schema": [
        put('{"name": 1}', "output", 0, "content", 0, "text"),
        framework(400),
    ],
    "a_cut_response_is_incomplete": [
        put("completed", "status"),
        put(None, "incomplete_details"),
        framework(400),
    ],
    "an_unknown_response_is_not_continued": [status(200, instead_of=400), framework(400)],
    "a_message_has_its_form": [
        put("completion", "type"),
        put("stop", "stop_reason"),
        put([], "content"),
        put(0, "usage", "output_tokens"),
        drop("id"),
        framework(400),
    ],
    "a_message_is_streamed": [
        events(lambda found: found[:-1]),
        events(lambda found: found[1:]),
        events(lambda found: [event.partition(b"\n")[2] for event in found]),
        events(lambda found: without(found, b"event: content_block_stop")),
        swap(b'"stop_reason":"end_turn"', b'"stop_reason":null', streams=True),
        framework(400),
    ],
    "a_message_uses_a_tool": [
        put("end_turn", "stop_reason"),
        put('{"city": "Paris"}', "content", 0, "input"),
        put("other", "content", 0, "name"),
        put("text", "content", 0, "type"),
        framework(400),
    ],
    "a_cut_message_says_so": [put("end_turn", "stop_reason"), framework(400)],
    "the_key_may_come_as_anthropic_sends_it": [
        lambda passing: framework(401)(passing) if "x-api-key" in passing.told else None,
        status(200, instead_of=401),
        framework(400),
    ],
    "nobody_enters_without_a_key": [*NO_ENVELOPE, status(403, instead_of=401)],
    "a_wrong_key_is_refused": [*NO_ENVELOPE, swap(b"invalid_api_key", b"unauthorized")],
    "a_model_is_needed": [*NO_ENVELOPE, status(404, instead_of=400)],
    "an_unknown_model_is_not_found": [
        *NO_ENVELOPE,
        swap(b"model_not_found", b"not_found"),
        status(502, instead_of=404),
    ],
    "messages_are_needed": [*NO_ENVELOPE, status(500, instead_of=400)],
    "a_wrong_type_is_refused": [*NO_ENVELOPE, status(500, instead_of=400)],
    "a_wrong_value_is_refused": [*NO_ENVELOPE, status(500, instead_of=400)],
    "broken_json_is_refused": [*NO_ENVELOPE, status(500, instead_of=400)],
    "broken_utf8_is_refused": [*NO_ENVELOPE, status(500, instead_of=400)],
    "an_unknown_path_is_not_found": [*NO_ENVELOPE, swap(b'"type":', b'"kind":')],
    "a_wrong_method_is_refused": [*NO_ENVELOPE, swap(b'"param":null', b'"param":7')],
    "a_huge_body_is_refused": [*NO_ENVELOPE, swap(b'"code": "c"', b'"code": 413')],
    "another_media_type_is_refused": [*NO_ENVELOPE, swap(b'"code":', b'"number":')],
    "every_answer_has_a_request_id": [
        header("x-request-id", None),
        header("x-request-id", "req_1"),
        lambda passing: header("x-request-id", None)(passing) if passing.status == 405 else None,
    ],
    "an_answer_says_how_long_it_took": [
        header("openai-processing-ms", None),
        header("openai-processing-ms", "fast"),
        header("openai-version", None),
    ],
    "limits_are_told": [
        header("x-ratelimit-remaining-tokens", None),
        header("x-ratelimit-reset-requests", "soon"),
        header("x-ratelimit-limit-requests", "many"),
    ],
    "who_is_too_many_is_told_when_to_return": [
        never_told_when,
        status(500, instead_of=429),
        mute,
    ],
    "a_repetition_is_not_run_again": [second_fails(), framework(409)],
    "a_key_stands_for_one_body": [third_is_served(), second_fails(), framework(400)],
    "a_preflight_allows_what_the_sdk_sends": [
        header("access-control-allow-headers", "authorization, content-type"),
        header("access-control-allow-origin", "https://other.example"),
        header("access-control-allow-methods", "GET"),
        header("access-control-allow-credentials", "true"),
        status(500, instead_of=204),
        framework(405),
    ],
    "a_page_may_read_what_it_needs": [
        header("access-control-expose-headers", None),
        header("access-control-allow-origin", "https://other.example"),
        framework(403),
    ],
    "who_leaves_takes_nothing_along": [gone_after_streams(), framework(400)],
}


def _renamed(found: list[bytes]) -> list[bytes]:
    """Calls whose id changes from piece to piece."""
    return [
        event.replace(b'{"index":0,"function"', b'{"index":0,"id":"x","function"')
        for event in found
    ]
