"""From an opened body to one that the engine may run, with its limits written (SPEC 2.6, 4.7)."""

from dataclasses import dataclass, field

from bombyx.attestation.keyset import ModelRecord
from bombyx.chat.body import (
    Body,
    RequestHead,
    count_prompts,
    parse_body,
    request_head,
    write_output_limit,
)
from bombyx.chat.paths import engine_path
from bombyx.chat.size import max_input_bound
from bombyx.chat.surface import admit
from bombyx.envelope.header import Header
from bombyx.envelope.plaintext import Plaintext
from bombyx.errors import (
    ContextLengthExceeded,
    CostCapExceeded,
    HeaderMismatch,
    RequestError,
    WrongMediaType,
)
from bombyx.money.cost import Rates, affordable_output, worst_case
from bombyx.units import Nano
from worker.blame import Blamed, blame
from worker.engine.port import Engine

LEAST_OUTPUT = 16
"""What may always be tried where the prompt's length is bounded and not known."""


@dataclass(frozen=True, slots=True)
class Limited:
    """A body with its output limit; `worst` is the most that the worker can earn by it.

    `body` is for the engine, `asked` as the client wrote it.
    """

    body: Body = field(repr=False)
    asked: Body = field(repr=False)
    head: RequestHead
    max_output: int
    worst: Nano


@dataclass(frozen=True, slots=True)
class Terms:
    """What limits a request besides its body."""

    header: Header
    rates: Rates
    model: ModelRecord


async def limit(plaintext: Plaintext, terms: Terms, *, engine: Engine) -> Limited:
    """Check body against header and write what the engine may produce; raises `Blamed`."""
    header = terms.header
    with blame("client"):
        raw, head = _read(plaintext, header)
        body = admit(header.path, raw)
    prompt = await _count(engine, engine_path(header.path), body)
    with blame("client"):
        total = _output_limit(body, head, prompt, terms)
        limited = write_output_limit(body, total) if head.choices else body
    cost = worst_case(
        max_input=header.max_input_tokens if prompt is None else prompt,
        max_output=total,
        rates=terms.rates,
        fee_bps=header.fee_bps,
    )
    return Limited(limited, raw, head, total, cost.amount)


def _read(plaintext: Plaintext, header: Header) -> tuple[Body, RequestHead]:
    if plaintext.head.content_type != "application/json":
        raise WrongMediaType("a sealed request is application/json")
    body = parse_body(plaintext.body)
    head = request_head(header.path, body)
    if head.model != header.model:
        raise HeaderMismatch("the body names another model than the header", param="model")
    if head.stream != header.stream:
        raise HeaderMismatch("body and header differ in stream", param="stream")
    return body, head


async def _count(engine: Engine, path: str, body: Body) -> int | None:
    """Prompt tokens, None where the engine cannot tell.

    What the engine's template refuses is the client's fault, all else the worker's.
    """
    with blame("worker"):
        try:
            return await engine.count_prompt(path, body)
        except RequestError as error:
            raise Blamed(error, "client") from None


def _output_limit(body: Body, head: RequestHead, prompt: int | None, terms: Terms) -> int:
    """min(body, header, what is left of the cost cap, what is left of the context), in total."""
    header = terms.header
    if prompt is not None and prompt > header.max_input_tokens:
        raise ContextLengthExceeded(
            f"the prompt has {prompt} tokens, the header allows {header.max_input_tokens}"
        )
    affordable = affordable_output(
        prompt=header.max_input_tokens if prompt is None else prompt,
        rates=terms.rates,
        fee_bps=header.fee_bps,
        max_cost=int(header.max_cost_nano),
    )
    if affordable < head.choices:
        raise CostCapExceeded("max_cost_nano does not cover the prompt and a token of output")
    asked = header.max_output_tokens if head.max_output is None else head.max_output
    if not head.choices:
        return 0  # nothing is written, and each text has a context of its own
    room = _context_left(body, prompt, terms.model)
    return min(asked, header.max_output_tokens, affordable, room * head.choices)


def _context_left(body: Body, prompt: int | None, model: ModelRecord) -> int:
    """Tokens of output per choice that the model's context still holds."""
    if prompt is None:
        bound = max_input_bound(
            body,
            bytes_factor=model.bytes_factor,
            overhead=model.overhead,
            max_image_tokens=model.max_image_tokens,
        )
        return max(LEAST_OUTPUT, model.context - bound)
    if count_prompts(body.get("prompt")) > 1:
        # Counted together they may be longer than each may be alone; the engine knows.
        return max(LEAST_OUTPUT, model.context - prompt)
    if prompt >= model.context:
        raise ContextLengthExceeded(
            # OpenAI's own words: clients that shorten a conversation look for them.
            f"this model's maximum context length is {model.context} tokens; "
            f"the prompt has {prompt}"
        )
    return model.context - prompt
