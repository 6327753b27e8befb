"""The port that every engine implements, and what passes through it (SPEC 2.6, 4.7, 12).

Rules that a contract suite holds for all of them:

* Bodies come admitted (`bombyx.chat.allow_list`) and with their output limit written.
* Counts on events are cumulative; those of the last event are final. A caller that stops early
  bills the last counts that it saw.
* Closing the generator of `run` stops the engine's work within a second, for whole answers too.
* Payloads are clean: one shape, given id and model, exactly one finish reason per choice, and no
  `usage`, which the worker writes itself.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from bombyx.chat.body import Body
from bombyx.money.cost import Tokens


@dataclass(frozen=True, slots=True)
class EngineModel:
    """A model as the keyset describes it; digests in hex, `context` in tokens."""

    id: str
    context: int
    weights: str
    engine: str
    bytes_factor: int
    overhead: int
    max_image_tokens: int


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """One admitted request.

    `request_id` is unguessable and never leaves the worker; `cache_salt` (hex) keeps payers' prefix
    caches apart; `completion_id` and `created` (unix seconds) are what the client is shown.
    """

    path: str
    body: Body = field(repr=False)
    request_id: str = field(repr=False)
    cache_salt: str = field(repr=False)
    completion_id: str = ""
    created: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """One `chat.completion.chunk` of a stream, and the counts so far."""

    payload: dict[str, Any] = field(repr=False)
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class Answer:
    """The `chat.completion` of a request with stream=false, its only payload and last event."""

    payload: dict[str, Any] = field(repr=False)
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class Progress:
    """Counts so far while a whole answer grows: what a caller bills that leaves before its end."""

    tokens: Tokens


EngineEvent = Chunk | Answer | Progress


@dataclass(frozen=True, slots=True)
class Load:
    """How busy an engine is; `slots` is how many requests it runs at once."""

    running: int
    waiting: int
    slots: int


@runtime_checkable
class Engine(Protocol):
    """Something that runs models."""

    async def start(self) -> None:
        """Become ready; raises `EngineFailed` or `SetupError`."""

    async def close(self) -> None:
        """Stop everything that `start` began; may be called twice."""

    def models(self) -> list[EngineModel]:
        """What is served, once started."""

    async def count_prompt(self, path: str, body: Body) -> int | None:
        """Exact prompt tokens, template included; None where the engine cannot say.

        Raises `RequestError` for a body that the engine's template refuses, `EngineFailed`.
        """

    def run(self, request: EngineRequest) -> AsyncGenerator[EngineEvent, None]:
        """Run one request; see the rules above.

        Raises `RequestError` for what the engine refuses, `Overloaded` when it is full,
        `EngineFailed` and `EngineTimeout` for its own failures, also in mid-stream.
        """

    async def load(self) -> Load:
        """Current load; raises `EngineFailed`."""
