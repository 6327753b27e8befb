"""Requests without generated text: embeddings, counts, a tokenizer, server by server (SPEC 4.1).

One question, one answer, no stream. What a server does not have is `NotFound`.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from bombyx.chat.anthropic.request import count_answer
from bombyx.chat.body import Body
from bombyx.chat.embeddings import embeddings_answer, embeddings_of, texts
from bombyx.chat.paths import EMBEDDINGS_PATH, TOKENIZE_PATH
from bombyx.chat.size import count_images
from bombyx.chat.tokenizing import text_answer, tokens_answer
from bombyx.chat.usage import UsageTally
from bombyx.errors import NotFound, UnsupportedValue
from bombyx.money.cost import Tokens
from worker.engine.flavour import Flavour
from worker.engine.port import Answer, EngineRequest

Ask = Callable[[str, Body], Awaitable[Any]]
"""`(path, body)` to the server, its parsed answer."""

ROOTS = {Flavour.LLAMACPP: "", Flavour.VLLM: "", Flavour.SGLANG: "/v1"}
"""Where servers keep their tokenizer; those that are not named have none."""


def not_served() -> NotFound:
    """What a client is told of a path that this engine does not have."""
    return NotFound("the model's engine does not serve this endpoint")


async def answer(
    ask: Ask, request: EngineRequest, flavour: Flavour, *, model: str, context: int
) -> Answer:
    """The one answer; `model` is the server's own name. Raises `NotFound` or `EngineFailed`."""
    body = {**request.body, "model": model}
    if request.path == EMBEDDINGS_PATH:
        raw = await ask(EMBEDDINGS_PATH, body)
        vectors = embeddings_of(raw, len(texts(body["input"])))
        return Answer(embeddings_answer(vectors, request.body["model"]), _prompt(raw))
    if request.path == TOKENIZE_PATH:
        raw = await ask(_root(flavour) + "/tokenize", _tokenize_body(body, flavour))
        return Answer(tokens_answer(_get(raw, "tokens"), context), Tokens())
    raw = await ask(_root(flavour) + "/detokenize", body)
    said = (_get(raw, name) for name in ("text", "prompt", "content"))
    found = next((one for one in said if isinstance(one, str)), None)
    return Answer(text_answer(found), Tokens())


def counted(body: Body, tokens: int | None) -> Answer:
    """The answer to a count of a conversation, by what `Engine.count_prompt` said.

    Raises `UnsupportedValue` or `NotFound` where it could not say.
    """
    if tokens is not None:
        return Answer(count_answer(tokens), Tokens())
    if count_images(body):
        raise UnsupportedValue("this engine cannot count images", param="messages")
    raise not_served()


async def count(ask: Ask, prompts: list[Any], flavour: Flavour, *, model: str) -> int | None:
    """Tokens of prompts without a template; None where the server cannot say."""
    if flavour not in ROOTS:
        return None
    found = 0
    for prompt in prompts:
        tokens = prompt
        if isinstance(prompt, str):
            body = _tokenize_body({"model": model, "prompt": prompt}, flavour)
            tokens = _get(await ask(ROOTS[flavour] + "/tokenize", body), "tokens")
        if not isinstance(tokens, list):
            return None
        found += len(tokens)
    return found


def _root(flavour: Flavour) -> str:
    if flavour not in ROOTS:
        raise not_served()
    return ROOTS[flavour]


def _tokenize_body(body: Body, flavour: Flavour) -> Body:
    if flavour is not Flavour.LLAMACPP:
        return body
    special = body.get("add_special_tokens", True)
    return {"content": body["prompt"], "add_special": special, "parse_special": True}


def _prompt(raw: Any) -> Tokens:
    """Prompt tokens alone: nothing was written, whatever a server counts."""
    tally = UsageTally()
    usage = _get(raw, "usage")
    tally.observe(usage if isinstance(usage, dict) else {})
    return Tokens(prompt=tally.tokens.prompt)


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None
