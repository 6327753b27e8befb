"""How long a prompt can be at most, from its bytes alone (SPEC 2.4).

The same for every path: a conversation lies in `messages` or `input`, and its images are parts of
three shapes, by dialect.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from bombyx.chat.body import encode_body

_HOLDERS = ("messages", "input")
_INNER = ("content", "output")
"""Where an item keeps its parts; results of tools keep them one level deeper."""


def text_bytes(body: Mapping[str, Any]) -> int:
    """UTF-8 length of the compact JSON of the body, with the data of every image emptied.

    JSON escapes only lengthen text and every message costs more JSON than template, so the tokens
    of a byte-level tokenizer stay below this.
    """
    emptied = {name: _emptied(body[name]) for name in _HOLDERS if isinstance(body.get(name), list)}
    return len(encode_body({**body, **emptied}))


def count_images(body: Mapping[str, Any]) -> int:
    """How many image parts the conversation holds."""
    return sum(1 for _ in images(body))


def images(body: Mapping[str, Any]) -> Iterator[Any]:
    """Each image part's image, whatever its shape."""
    for name in _HOLDERS:
        yield from _images(body.get(name))


def max_input_bound(
    body: Mapping[str, Any], *, bytes_factor: int, overhead: int, max_image_tokens: int
) -> int:
    """The largest number of prompt tokens this body can have with a model of these bounds."""
    return text_bytes(body) * bytes_factor + overhead + count_images(body) * max_image_tokens


def _images(value: Any) -> Iterator[Any]:
    for item in value if isinstance(value, list) else ():
        if not isinstance(item, dict):
            continue
        if name := _image_name(item):
            yield item.get(name)
        else:
            for inner in _INNER:
                yield from _images(item.get(inner))


def _image_name(part: Mapping[str, Any]) -> str | None:
    """Where a part keeps its image; None for a part that is none."""
    match part.get("type"):
        case "image_url" | "input_image":
            return "image_url"
        case "image":
            return "source"
        case _:
            return None


def _emptied(value: list[Any]) -> list[Any]:
    return [_without_data(item) if isinstance(item, dict) else item for item in value]


def _without_data(item: Mapping[str, Any]) -> Mapping[str, Any]:
    if name := _image_name(item):
        return {**item, name: _no_data(item[name])} if name in item else item
    inner = {name: _emptied(item[name]) for name in _INNER if isinstance(item.get(name), list)}
    return {**item, **inner} if inner else item


def _no_data(image: Any) -> Any:
    """The image without what grows with its size."""
    if isinstance(image, str):
        return "" if image.startswith("data:") else image
    if not isinstance(image, dict):
        return image
    url = image.get("url")
    if isinstance(url, str) and url.startswith("data:"):
        return {**image, "url": ""}
    return {**image, "data": ""} if isinstance(image.get("data"), str) else image
