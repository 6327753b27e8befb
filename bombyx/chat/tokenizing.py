"""`/v1/tokenize` and `/v1/detokenize`: a model's tokenizer, as SGLang and vLLM serve it (SPEC 4.1).

Nothing is generated and nothing billed.
"""

from collections.abc import Mapping
from typing import Any

from bombyx.chat import fields
from bombyx.chat.allowed import Allowed
from bombyx.chat.body import Body
from bombyx.errors import EngineFailed

TOKENIZE = Allowed(
    passed={
        "model": fields.text,
        "prompt": fields.string,
        "add_special_tokens": fields.boolean,
    },
    checked={},
    ignored=frozenset({"user"}),
)
DETOKENIZE = Allowed(
    passed={"model": fields.text, "tokens": fields.tokens},
    checked={},
    ignored=frozenset({"user"}),
)


def admit_tokenize(body: Mapping[str, Any]) -> Body:
    """What an engine may get; raises as `surface.admit` does."""
    admitted = TOKENIZE.take(body)
    fields.require("prompt" in admitted, "prompt", "prompt is a string")
    return admitted


def admit_detokenize(body: Mapping[str, Any]) -> Body:
    """What an engine may get; raises as `surface.admit` does."""
    admitted = DETOKENIZE.take(body)
    fields.require("tokens" in admitted, "tokens", "tokens is a list of token numbers")
    return admitted


def tokens_answer(tokens: Any, context: int) -> dict[str, Any]:
    """What a driver answers to tokenize; raises `EngineFailed` for what is no list of numbers."""
    if not isinstance(tokens, list) or any(type(one) is not int for one in tokens):
        raise EngineFailed("the engine's tokens cannot be read")
    return {"tokens": tokens, "count": len(tokens), "max_model_len": context}


def text_answer(text: Any) -> dict[str, Any]:
    """What a driver answers to detokenize, under two servers' names; raises `EngineFailed`."""
    if not isinstance(text, str):
        raise EngineFailed("the engine's text cannot be read")
    return {"text": text, "prompt": text}
