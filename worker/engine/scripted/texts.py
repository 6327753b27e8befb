"""Prompts without a template, vectors, and token numbers of the scripted engine.

A token's numbers are the bytes of its UTF-8: nothing is remembered, and every number has a meaning.
"""

import hashlib
import math
from collections.abc import Iterable
from typing import Any

from bombyx.chat.body import Body
from bombyx.errors import RequestError
from worker.engine.scripted.words import tokenise

DIMENSIONS = 16
_BYTE = 256


def prompts_of(value: Any) -> list[str]:
    """The texts of a `prompt` or `input`, token numbers read as text; raises `RequestError`."""
    if isinstance(value, str):
        return [value]
    if not value or type(value[0]) is int:
        return [text_of_numbers(value)]
    return [one if isinstance(one, str) else text_of_numbers(one) for one in value]


def as_chat(prompt: str, body: Body) -> Body:
    """The chat whose answer continues the prompt."""
    kept: Body = {name: body[name] for name in ("max_tokens", "stop") if name in body}
    if "logprobs" in body:
        kept |= {"logprobs": True, "top_logprobs": body["logprobs"]}
    return {**kept, "messages": [{"role": "user", "content": prompt}]}


def text_tokens(prompt: str) -> list[str]:
    """What a prompt without a template costs: its words, and the mark of its beginning."""
    return ["<s>", *tokenise(prompt)]


def numbers_of(text: str) -> list[int]:
    """The token numbers of a text."""
    return list(text.encode())


def text_of_numbers(numbers: Iterable[int]) -> str:
    """The text of token numbers; raises `RequestError` for numbers that no token has."""
    known = [one for one in numbers if one < _BYTE]
    if known != list(numbers):
        raise RequestError("the model has no such token", param="tokens")
    return bytes(known).decode("utf-8", "replace")


def vector(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """A vector of length 1; texts with words in common point the same way, more or less."""
    total = [0.0] * dimensions
    for word in text.lower().split() or [text]:
        for at in range(dimensions):
            digest = hashlib.sha256(f"{at}\0{word}".encode()).digest()
            total[at] += int.from_bytes(digest[:4]) / 2**31 - 1
    length = math.sqrt(sum(one * one for one in total)) or 1.0
    return [one / length for one in total]
