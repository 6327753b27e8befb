from typing import Any

import pytest

from bombyx.chat.allow_list import IGNORED, PASSED
from bombyx.chat.allowed import DROPPED
from bombyx.chat.surface import admit
from bombyx.errors import NotFound, RequestError, UnsupportedParameter, UnsupportedValue

PATH = "/v1/chat/completions"
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}


def schema_format(holder: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": holder}


def test_the_groups_do_not_overlap() -> None:
    assert not PASSED.keys() & IGNORED
    assert not PASSED.keys() & DROPPED
    assert not IGNORED & DROPPED


def test_every_field_in_use_passes_unchanged() -> None:
    asked = body(
        max_tokens=5,
        max_completion_tokens=5,
        n=2,
        stream=True,
        stream_options={"include_usage": True},
        temperature=0.5,
        top_p=1,
        top_k=-1,
        min_p=0,
        frequency_penalty=-2,
        presence_penalty=2.0,
        logit_bias={"50256": -100},
        logprobs=True,
        top_logprobs=20,
        seed=-1,
        stop=["a", "b"],
        reasoning_effort="low",
        tools=[FUNCTION],
        tool_choice="required",
        parallel_tool_calls=False,
        response_format=schema_format({"name": "n", "schema": {"type": "object"}}),
        chat_template_kwargs={"enable_thinking": False},
    )
    assert asked.keys() == PASSED.keys() | {"messages"}
    assert admit(PATH, asked) == asked


def test_null_counts_as_absent() -> None:
    assert admit(PATH, body(temperature=None, odd=None, tools=None)) == body()


def test_fields_without_effect_and_private_ones_are_dropped() -> None:
    given: dict[str, Any] = dict.fromkeys(IGNORED | DROPPED, "x")
    given["modalities"] = ["text"]
    assert admit(PATH, body(**given)) == body()


@pytest.mark.parametrize("name", ["functions", "audio", "web_search_options", "temprature"])
def test_an_unknown_field_is_refused_by_name(name: str) -> None:
    with pytest.raises(UnsupportedParameter, match=name) as caught:
        admit(PATH, body(**{name: "secret"}))
    assert caught.value.param == name
    assert "secret" not in str(caught.value)


def test_a_field_whose_name_is_text_is_not_repeated() -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        admit(PATH, body(**{"my secret prompt": 1}))
    assert "secret" not in str(caught.value)
    assert caught.value.param is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", 7),
        ("temperature", 2.1),
        ("temperature", True),
        ("temperature", "0"),
        ("top_k", 1.5),
        ("logprobs", 1),
        ("stop", ""),
        ("stop", ["a"] * 17),
        ("stop", [7]),
        ("stop", {"a": 1}),
        ("reasoning_effort", "endless"),
        ("reasoning_effort", []),
        ("logit_bias", {"word": 1}),
        ("logit_bias", {"1": 101}),
        ("logit_bias", []),
        ("stream_options", {"include_usage": 1}),
        ("stream_options", True),
        ("chat_template_kwargs", {"chat_template": "code"}),
        ("chat_template_kwargs", {"thinking": "yes"}),
        ("chat_template_kwargs", []),
        ("modalities", ["text", "audio"]),
        ("tools", [FUNCTION] * 129),
        ("tools", ["f"]),
        ("tools", [{"type": "retrieval"}]),
        ("tools", [{"type": "function", "function": {"name": ""}}]),
        ("tools", [{"type": "function", "function": {"name": "f", "parameters": []}}]),
        ("tools", [{"type": "function"}]),
        ("tool_choice", "sometimes"),
        ("tool_choice", ["none"]),
        ("tool_choice", {"type": "function"}),
        ("tool_choice", "required"),
        ("tool_choice", FUNCTION),
        ("response_format", "json"),
        ("response_format", {"type": ["text"]}),
        ("response_format", schema_format(None)),
        ("response_format", schema_format({"schema": "x"})),
        ("top_logprobs", 3),
    ],
)
def test_a_wrong_value_is_refused_with_the_fields_name(name: str, value: Any) -> None:
    with pytest.raises(RequestError) as caught:
        admit(PATH, body(**{name: value}))
    assert caught.value.param == name


def function_of(parameters: Any) -> list[Any]:
    return [{"type": "function", "function": {"name": "f", "parameters": parameters}}]


@pytest.mark.parametrize("key", ["$ref", "$dynamicRef", "$recursiveRef"])
@pytest.mark.parametrize("place", ["http://a/b", "file:///etc/passwd", "other.json", ""])
def test_a_schema_that_refers_elsewhere_is_refused(key: str, place: str) -> None:
    schema = {"type": "object", "properties": {"a": {"anyOf": [{"type": "null"}, {key: place}]}}}
    for name, value in (
        ("tools", function_of(schema)),
        ("response_format", schema_format({"name": "n", "schema": schema})),
    ):
        with pytest.raises(UnsupportedValue) as caught:
            admit(PATH, body(**{name: value}))
        assert caught.value.param == name
        assert not place or place not in str(caught.value)


def test_a_schema_may_refer_to_itself_and_have_fields_of_any_name() -> None:
    schema = {
        "$id": "http://a/b",
        "$defs": {"a": {"type": "string"}},
        "properties": {"$ref": {"$ref": "#/$defs/a"}, "b": {"$ref": "#"}},
    }
    asked = body(tools=function_of(schema))
    assert admit(PATH, asked) == asked


@pytest.mark.parametrize(
    "messages",
    [
        None,
        [],
        "hi",
        ["hi"],
        [{"content": "hi"}],
        [{"role": ["user"], "content": "hi"}],
        [{"role": "oracle", "content": "hi"}],
        [{"role": "user"}],
        [{"role": "user", "content": 7}],
        [{"role": "user", "content": []}],
        [{"role": "user", "content": ["hi"]}],
        [{"role": "user", "content": [{"type": "text"}]}],
        [{"role": "user", "content": [{"type": "input_audio"}]}],
        [{"role": "user", "content": [{"type": "image_url"}]}],
        [{"role": "user", "content": "hi", "tool_calls": [CALL]}],
        [{"role": "assistant", "tool_calls": {}}],
        [{"role": "assistant", "tool_calls": ["f"]}],
        [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}],
        [{"role": "assistant", "tool_calls": [{"function": {"arguments": "{}"}}]}],
    ],
)
def test_wrong_messages_are_refused(messages: Any) -> None:
    with pytest.raises(RequestError) as caught:
        admit(PATH, body(messages=messages))
    assert caught.value.param == "messages"


def test_messages_keep_what_engines_read_and_nothing_else() -> None:
    given = [
        {"role": "developer", "content": "be brief", "name": "a"},
        {"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": 1}]},
        {"role": "assistant", "content": None, "annotations": [], "tool_calls": [CALL]},
        {"role": "tool", "content": "7", "tool_call_id": "c"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}], "audio": None},
    ]
    assert admit(PATH, body(messages=given))["messages"] == [
        {"role": "developer", "content": "be brief", "name": "a"},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": "7", "tool_call_id": "c"},
        {"role": "assistant", "content": [{"type": "text", "text": "no"}]},
    ]


def test_images_come_as_data_and_are_never_fetched() -> None:
    def asking(image: Any) -> dict[str, Any]:
        part = {"type": "image_url", "image_url": image}
        return body(messages=[{"role": "user", "content": [part]}])

    sound = asking({"url": "data:image/png;base64,AA", "detail": "low"})
    assert admit(PATH, sound) == sound
    odd = asking({"url": "data:image/png;base64,AA", "detail": "secret", "more": 1})
    assert admit(PATH, odd) == asking({"url": "data:image/png;base64,AA"})
    for url in ("https://secret/", "file:///etc/passwd", "data:text/html,secret"):
        with pytest.raises(UnsupportedValue) as caught:
            admit(PATH, asking({"url": url}))
        assert "secret" not in str(caught.value)


def test_another_path_is_not_served() -> None:
    with pytest.raises(NotFound):
        admit("/v1/nothing", body())
