"""From a server's raw chunks to the port's events; the same for every engine that speaks OpenAI's.

The chunk that finishes the last choice is held until the engine's stream ends, since the final
counts come after it: so the last event always carries them.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from bombyx.chat.assemble import Assembler
from bombyx.chat.completions import TextAssembler
from bombyx.chat.paths import COMPLETIONS_PATH
from bombyx.money.cost import Tokens
from worker.engine.counting import Counter
from worker.engine.flavour import USAGE_PER_CHOICE, Flavour
from worker.engine.normalise import Normaliser
from worker.engine.port import Answer, Chunk, EngineEvent, EngineRequest, Progress
from worker.engine.token_ids import TokenIds

Raw = dict[str, Any]


async def events(
    raw_chunks: AsyncIterator[Raw],
    request: EngineRequest,
    flavour: Flavour = Flavour.OPENAI,
    *,
    has_ids: bool = False,
) -> AsyncGenerator[EngineEvent, None]:
    """Clean events of one request; raises `EngineFailed` for a stream that is not whole.

    `has_ids` refuses an answer whose counts no token ids bear out.
    """
    chunks = _clean(raw_chunks, request, flavour, has_ids=has_ids)
    whole = None if request.body.get("stream") else _assembler(request)
    tokens = Tokens()
    async with aclosing(chunks):
        async for chunk in chunks:
            if whole is None:
                yield chunk
                continue
            whole.add(chunk.payload)
            tokens = chunk.tokens
            yield Progress(tokens)
    if whole is not None:
        yield Answer(whole.answer(tokens), tokens)


def _assembler(request: EngineRequest) -> Assembler | TextAssembler:
    return TextAssembler() if request.path == COMPLETIONS_PATH else Assembler()


async def _clean(
    raw_chunks: AsyncIterator[Raw], request: EngineRequest, flavour: Flavour, *, has_ids: bool
) -> AsyncGenerator[Chunk, None]:
    choices = request.body.get("n") or 1
    normaliser = Normaliser(request)
    counter = Counter(choices, is_per_choice=flavour in USAGE_PER_CHOICE)
    # vLLM counts a last token that it may not show.
    ids = TokenIds(choices, slack=int(flavour is Flavour.VLLM))
    held: dict[str, Any] | None = None
    tokens = Tokens()
    async for raw in raw_chunks:
        tokens = counter.observe(raw)
        ids.observe(raw)
        payload = normaliser.chunk(raw)
        if payload is None:
            continue
        if normaliser.all_finished:
            held = payload
        else:
            yield Chunk(payload, tokens)
    normaliser.finish()
    ids.check(tokens, must_show=has_ids)
    if held is not None:
        yield Chunk(held, tokens)
