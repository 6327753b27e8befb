"""How long a prompt can be at most, from its bytes alone (SPEC 2.4)."""

from collections.abc import Iterator, Mapping
from typing import Any

from bombyx.chat.body import encode_body


def text_bytes(body: Mapping[str, Any]) -> int:
    """UTF-8 length of the compact JSON of the body, with every `data:` image emptied.

    JSON escapes only lengthen text and every message costs more JSON than template, so the tokens
    of a byte-level tokenizer stay below this.
    """
    messages = body.get("messages")
    if not isinstance(messages, list):
        return len(encode_body(body))
    return len(encode_body({**body, "messages": [_emptied(message) for message in messages]}))


def count_images(body: Mapping[str, Any]) -> int:
    """How many image parts the messages hold."""
    return sum(1 for _ in images(body))


def images(body: Mapping[str, Any]) -> Iterator[Any]:
    """The `image_url` value of each image part."""
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else ():
            if _is_image(part):
                yield part.get("image_url")


def max_input_bound(
    body: Mapping[str, Any], *, bytes_factor: int, overhead: int, max_image_tokens: int
) -> int:
    """The largest number of prompt tokens this body can have with a model of these bounds."""
    return text_bytes(body) * bytes_factor + overhead + count_images(body) * max_image_tokens


def _is_image(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "image_url"


def _emptied(message: Any) -> Any:
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list):
        return message
    return {**message, "content": [_without_data(part) for part in content]}


def _without_data(part: Any) -> Any:
    if not _is_image(part):
        return part
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else None
    if not isinstance(url, str) or not url.startswith("data:"):
        return part
    return {**part, "image_url": {**image, "url": ""}}
