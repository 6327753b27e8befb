"""`/v1/embeddings`: texts in, vectors out; billed are prompt tokens alone (SPEC 1.4, 4.1)."""

import struct
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from bombyx.chat import fields
from bombyx.chat.allowed import Allowed
from bombyx.chat.body import Body, encode_body
from bombyx.chat.forms import OpenAIForm
from bombyx.errors import EngineFailed, RequestError
from bombyx.money.cost import Tokens

MAX_INPUTS = 2048
MAX_DIMENSIONS = 2**16
_FLOAT32_MAX = 3.4e38
"""What the packed form can hold."""

EMBEDDINGS = Allowed(
    passed={
        "model": fields.text,
        "input": fields.text_or_tokens,
        "dimensions": fields.integer(1, MAX_DIMENSIONS),
    },
    checked={"encoding_format": fields.words("float", "base64")},
    ignored=frozenset({"user", "safety_identifier", "metadata"}),
)


def admit_embeddings(body: Mapping[str, Any]) -> Body:
    """What an engine may get; raises as `surface.admit` does.

    Engines are asked for numbers always; the form packs them where a client wants it.
    """
    admitted = EMBEDDINGS.take(body)
    inputs = texts(admitted.get("input"))
    if not inputs or any(one in ("", []) for one in inputs):
        raise RequestError("input holds at least one text, and none is empty", param="input")
    if len(inputs) > MAX_INPUTS:
        raise RequestError(f"input holds at most {MAX_INPUTS} texts", param="input")
    return admitted


def texts(value: Any) -> list[Any]:
    """The single texts of an `input`, each a string or a list of token numbers."""
    if isinstance(value, list) and not any(type(one) is int for one in value):
        return value
    return [] if value is None else [value]


def embeddings_of(answer: Any, count: int) -> list[list[float]]:
    """An engine's vectors in the order of their texts; raises `EngineFailed`."""
    data = answer.get("data") if isinstance(answer, dict) else None
    try:
        found = {one.get("index"): list(map(_number, one["embedding"])) for one in data or ()}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise EngineFailed("the engine's embeddings cannot be read") from None
    if set(found) != set(range(count)):
        raise EngineFailed("the engine did not answer for each text once")
    return [found[index] for index in range(count)]


def _number(value: Any) -> float:
    number = float(value)
    if not abs(number) <= _FLOAT32_MAX:  # written so that NaN fails too
        raise ValueError("no number of 32 bits")
    return number


def embeddings_answer(vectors: list[list[float]], model: str) -> dict[str, Any]:
    """The clean answer of an engine's driver."""
    data = [
        {"object": "embedding", "index": index, "embedding": vector}
        for index, vector in enumerate(vectors)
    ]
    return {"object": "list", "data": data, "model": model}


class EmbeddingsForm(OpenAIForm):
    """One answer; usage is prompt tokens alone."""

    __slots__ = ("_packs",)

    def __init__(self, asked: Body) -> None:
        super().__init__()
        self._packs = asked.get("encoding_format") == "base64"

    def whole(self, payload: Mapping[str, Any], tokens: Tokens) -> bytes:
        """The answer with its usage, its vectors as the client wants them."""
        usage = {"prompt_tokens": tokens.prompt, "total_tokens": tokens.prompt}
        data = [self._packed(one) for one in payload["data"]]
        return encode_body({**payload, "data": data, "usage": usage})

    def _packed(self, one: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self._packs:
            return one
        vector = one["embedding"]
        # Little-endian 32-bit floats, as numpy reads them.
        raw = struct.pack(f"<{len(vector)}f", *vector)
        return {**one, "embedding": b64encode(raw).decode()}
