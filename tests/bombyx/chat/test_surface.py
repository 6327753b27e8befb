"""SPEC 4.1 path by path: what may be asked, and what an engine is asked for it."""

from typing import Any

import pytest

from bombyx.chat.allowed import DROPPED
from bombyx.chat.body import request_head, write_output_limit
from bombyx.chat.paths import (
    CHAT_PATH,
    COMPLETIONS_PATH,
    COUNT_TOKENS_PATH,
    DETOKENIZE_PATH,
    EMBEDDINGS_PATH,
    MESSAGES_PATH,
    RESPONSES_PATH,
    SERVED_PATHS,
    TOKENIZE_PATH,
    engine_path,
)
from bombyx.chat.surface import ENDPOINTS, admit, endpoint
from bombyx.errors import (
    HeaderMismatch,
    NotFound,
    RequestError,
    UnsupportedParameter,
    UnsupportedValue,
)

HELLO = [{"role": "user", "content": "hi"}]
LEAST: dict[str, dict[str, Any]] = {
    CHAT_PATH: {"messages": HELLO},
    COMPLETIONS_PATH: {"prompt": "hi"},
    EMBEDDINGS_PATH: {"input": "hi"},
    RESPONSES_PATH: {"input": "hi"},
    MESSAGES_PATH: {"messages": HELLO, "max_tokens": 5},
    COUNT_TOKENS_PATH: {"messages": HELLO},
    TOKENIZE_PATH: {"prompt": "hi"},
    DETOKENIZE_PATH: {"tokens": [1]},
}
PATHS = pytest.mark.parametrize("path", SERVED_PATHS)


def least(path: str, **fields: Any) -> dict[str, Any]:
    return {"model": "m", **LEAST[path], **fields}


def test_every_served_path_has_an_endpoint() -> None:
    assert tuple(ENDPOINTS) == SERVED_PATHS
    with pytest.raises(NotFound):
        endpoint("/v1/images/generations")


@PATHS
def test_the_groups_of_a_path_do_not_overlap(path: str) -> None:
    allowed = ENDPOINTS[path].allowed
    groups = [allowed.passed.keys(), allowed.checked.keys(), allowed.ignored, DROPPED]
    names = [name for group in groups for name in group]
    assert len(names) == len(set(names))


@PATHS
def test_the_least_request_is_admitted_and_null_counts_as_absent(path: str) -> None:
    admitted = admit(path, least(path, user=None, odd=None))
    assert admitted["model"] == "m"
    is_chat = engine_path(path) == CHAT_PATH or path == COUNT_TOKENS_PATH
    assert ("messages" in admitted) == is_chat


@PATHS
def test_an_unknown_field_is_refused_by_name_and_private_ones_are_dropped(path: str) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        admit(path, least(path, surprise=1))
    assert caught.value.param == "surprise"
    assert admit(path, least(path, rid="r", cache_salt="s")) == admit(path, least(path))


@PATHS
def test_what_a_path_reads_is_needed(path: str) -> None:
    for name in LEAST[path]:
        body = {key: value for key, value in least(path).items() if key != name}
        with pytest.raises(RequestError) as caught:
            admit(path, body)
        assert caught.value.param == name


@pytest.mark.parametrize(
    ("path", "fields", "choices", "limit"),
    [
        (COMPLETIONS_PATH, {}, 1, None),
        (COMPLETIONS_PATH, {"prompt": ["a", "b"], "n": 3, "max_tokens": 7}, 6, 42),
        (COMPLETIONS_PATH, {"prompt": [1, 2, 3], "max_tokens": 7}, 1, 7),
        (COMPLETIONS_PATH, {"prompt": [[1], [2]]}, 2, None),
        (RESPONSES_PATH, {"max_output_tokens": 9}, 1, 9),
        (MESSAGES_PATH, {}, 1, 5),
        (EMBEDDINGS_PATH, {"stream": True}, 0, 1),
        (COUNT_TOKENS_PATH, {"stream": True, "max_tokens": 9}, 0, 1),
        (TOKENIZE_PATH, {}, 0, 1),
        (DETOKENIZE_PATH, {}, 0, 1),
    ],
)
def test_the_head_counts_answers_and_their_tokens(
    path: str, fields: dict[str, Any], choices: int, limit: int | None
) -> None:
    head = request_head(path, least(path, **fields))
    assert (head.choices, head.max_output, head.stream) == (choices, limit, False)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a"] * 129}, "prompt"),
        ({"prompt": ["a"] * 100, "n": 16, "max_tokens": 2**48}, "max_tokens"),
    ],
)
def test_a_completion_has_a_bounded_number_of_prompts(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        request_head(COMPLETIONS_PATH, least(COMPLETIONS_PATH, **fields))
    assert caught.value.param == param


def test_the_output_limit_is_shared_by_all_prompts() -> None:
    body = least(COMPLETIONS_PATH, prompt=["a", "b"], n=2)
    assert write_output_limit(body, 9)["max_tokens"] == 2
    with pytest.raises(HeaderMismatch):
        write_output_limit(body, 3)


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        (COMPLETIONS_PATH, {"prompt": 5}, "prompt"),
        (COMPLETIONS_PATH, {"prompt": [1, "a"]}, "prompt"),
        (COMPLETIONS_PATH, {"prompt": ["a", 1]}, "prompt"),
        (COMPLETIONS_PATH, {"prompt": [[]]}, "prompt"),
        (COMPLETIONS_PATH, {"prompt": [-1]}, "prompt"),
        (COMPLETIONS_PATH, {"best_of": 2}, "best_of"),
        (COMPLETIONS_PATH, {"suffix": "end"}, "suffix"),
        (COMPLETIONS_PATH, {"logprobs": 6}, "logprobs"),
        (COMPLETIONS_PATH, {"echo": True, "logprobs": 1}, "echo"),
        (COMPLETIONS_PATH, {"echo": True, "prompt": [1]}, "echo"),
        (EMBEDDINGS_PATH, {"input": ""}, "input"),
        (EMBEDDINGS_PATH, {"input": ["a", ""]}, "input"),
        (EMBEDDINGS_PATH, {"input": ["a"] * 2049}, "input"),
        (EMBEDDINGS_PATH, {"encoding_format": "int8"}, "encoding_format"),
        (EMBEDDINGS_PATH, {"dimensions": 0}, "dimensions"),
        (TOKENIZE_PATH, {"prompt": ["a"]}, "prompt"),
        (DETOKENIZE_PATH, {"tokens": ["a"]}, "tokens"),
    ],
)
def test_a_wrong_field_is_named(path: str, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        admit(path, least(path, **fields))
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("path", "fields", "left"),
    [
        (COMPLETIONS_PATH, {"echo": True}, {}),
        (COMPLETIONS_PATH, {"echo": False, "best_of": 1, "suffix": ""}, {}),
        (COMPLETIONS_PATH, {"prompt": "", "logprobs": 0}, {"prompt": "", "logprobs": 0}),
        (COMPLETIONS_PATH, {"prompt": [[1], [2]], "seed": 1}, {"prompt": [[1], [2]], "seed": 1}),
        (EMBEDDINGS_PATH, {"input": [1, 2], "encoding_format": "base64"}, {"input": [1, 2]}),
        (EMBEDDINGS_PATH, {"input": ["a"], "dimensions": 3}, {"input": ["a"], "dimensions": 3}),
        (TOKENIZE_PATH, {"prompt": "", "add_special_tokens": False}, None),
        (DETOKENIZE_PATH, {"tokens": []}, {"tokens": []}),
    ],
)
def test_what_is_left_for_the_engine(
    path: str, fields: dict[str, Any], left: dict[str, Any] | None
) -> None:
    assert admit(path, least(path, **fields)) == least(path, **(fields if left is None else left))


def test_unsupported_values_have_a_code_of_their_own() -> None:
    with pytest.raises(UnsupportedValue):
        admit(COMPLETIONS_PATH, least(COMPLETIONS_PATH, suffix="x"))
