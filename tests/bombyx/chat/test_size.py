import json
from typing import Any

import pytest

from bombyx.chat.body import encode_body
from bombyx.chat.size import count_images, max_input_bound, text_bytes


def image(url: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, "detail": "low"}}


def with_parts(*parts: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": list(parts)}]}


def test_text_is_measured_in_bytes_of_compact_utf8() -> None:
    body = {"messages": [{"role": "user", "content": "ä😀\n"}]}
    assert text_bytes(body) == len('{"messages":[{"role":"user","content":"ä😀\\n"}]}'.encode())


@pytest.mark.spec("2.4-a")
def test_a_data_image_counts_as_empty_and_its_bytes_do_not() -> None:
    text = {"type": "text", "text": "look"}
    small = with_parts(text, image(""))
    large = with_parts(text, image("data:image/png;base64," + "A" * 10_000))
    assert text_bytes(large) == text_bytes(small) == len(encode_body(small))
    assert count_images(large) == 1


@pytest.mark.parametrize(
    "part",
    [
        "text",
        {"type": "text"},
        image("https://x/"),
        image(7),
        {"type": "image_url"},
        {"type": "input_image", "image_url": "https://x/"},
        {"type": "image", "source": 7},
    ],
)
def test_everything_else_counts_whole(part: Any) -> None:
    body = with_parts(part)
    assert text_bytes(body) == len(encode_body(body))


@pytest.mark.parametrize("messages", [None, "text", [], ["text"], [{"content": "text"}], [{}]])
def test_odd_messages_have_no_images(messages: Any) -> None:
    body = {"messages": messages}
    assert count_images(body) == 0
    assert text_bytes(body) == len(encode_body(body))


@pytest.mark.spec("2.4-a")
def test_the_bound_adds_text_overhead_and_images() -> None:
    body = with_parts(image("data:image/png;base64,AA"), image("data:image/png;base64,BB"))
    bound = max_input_bound(body, bytes_factor=11, overhead=64, max_image_tokens=1000)
    assert bound == text_bytes(body) * 11 + 64 + 2000


@pytest.mark.spec("2.4-a")
@pytest.mark.parametrize(
    "holder",
    [
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "%s"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {"data": "%s"}}]}]},
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "content": [{"type": "image", "source": {"data": "%s"}}],
                        }
                    ],
                }
            ]
        },
        {
            "input": [
                {
                    "type": "function_call_output",
                    "output": [{"type": "input_image", "image_url": "%s"}],
                }
            ]
        },
    ],
)
def test_images_of_every_dialect_count_as_images(holder: dict[str, Any]) -> None:
    def sized(size: int) -> dict[str, Any]:
        data = "data:image/png;base64," + "A" * size
        made: dict[str, Any] = json.loads(json.dumps(holder) % data)
        return made

    assert text_bytes(sized(9)) == text_bytes(sized(9000))
    assert count_images(sized(9)) == 1
