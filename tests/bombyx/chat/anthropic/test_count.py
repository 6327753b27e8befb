"""A request for a count becomes the chat whose prompt is counted."""

import json
from typing import Any

import pytest

from bombyx.chat.anthropic.request import count_answer
from bombyx.chat.forms import Shown
from bombyx.chat.paths import COUNT_TOKENS_PATH, MESSAGES_PATH
from bombyx.chat.surface import admit, endpoint
from bombyx.errors import NotFound, RequestError, UnsupportedParameter
from bombyx.money.cost import Tokens

HELLO: Any = [{"role": "user", "content": "hi"}]
SHAPING: dict[str, Any] = {
    "model": "m",
    "messages": HELLO,
    "system": "be kind",
    "tools": [{"name": "f", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "any"},
    "thinking": {"type": "adaptive"},
    "output_config": {"effort": "low"},
}


def test_a_count_has_the_prompt_of_the_message_that_it_is_for() -> None:
    counted = admit(COUNT_TOKENS_PATH, {**SHAPING, "cache_control": {"type": "ephemeral"}})
    message = admit(MESSAGES_PATH, {**SHAPING, "max_tokens": 5})
    assert counted == {name: value for name, value in message.items() if name != "max_tokens"}


@pytest.mark.parametrize("name", ["max_tokens", "stream", "temperature", "stop_sequences"])
def test_what_shapes_no_prompt_is_no_field_of_a_count(name: str) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        admit(COUNT_TOKENS_PATH, {**SHAPING, name: 1})
    assert caught.value.param == name


def test_a_wrong_conversation_is_refused_before_it_is_counted() -> None:
    with pytest.raises(RequestError) as caught:
        admit(COUNT_TOKENS_PATH, {**SHAPING, "messages": []})
    assert caught.value.param == "messages"


def test_the_answer_is_the_count_alone_and_a_refusal_anthropics() -> None:
    form = endpoint(COUNT_TOKENS_PATH).form(SHAPING, Shown("ab" * 16, 0))
    assert json.loads(form.whole(count_answer(7), Tokens())) == {"input_tokens": 7}
    told = json.loads(form.error(NotFound("not here")))
    assert (told["type"], told["error"]["type"]) == ("error", "not_found_error")
    assert told["request_id"] == "ab" * 16
