"""Finding workers to seal to: the directory, remembered or fetched, and the draw (SPEC 13.1).

Of exchanges that need the same directory at once one fetches it, and the others wait for it.
"""

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlencode

from bombyx.attestation.directory import MAX_DIRECTORY_BYTES, Directory
from bombyx.attestation.policy import Policy
from bombyx.client.choice import Chosen, Draw, Drawn, draw_candidates
from bombyx.client.directory import (
    DIRECTORY_SECONDS,
    MAX_LISTINGS,
    Remembered,
    Verifier,
    collateral_of,
    parse_directory,
    vendor_of,
)
from bombyx.client.effects import (
    ClearRequest,
    Effect,
    Headers,
    Reply,
    Send,
    Wait,
    read_all,
    send,
)
from bombyx.client.refusals import MAX_ERROR_BYTES, gateway_error
from bombyx.client.routes import Call
from bombyx.errors import ModelNotFound, NoVerifiedWorker
from bombyx.units import MAX_SKEW_SECONDS

DIRECTORY_PATH = "/v1/confidential/workers"
_OK = 200
_SHOWN_REFUSALS = 3
_SENT_ON = frozenset({"authorization", "user-agent"})
"""Of the SDK's own headers: the rest tells of the caller and is not needed."""


@dataclass(frozen=True, slots=True)
class Found:
    """The gateway as it describes itself, and the workers drawn among those that it lists."""

    directory: Directory
    chosen: tuple[Chosen, ...]


class Finder:
    """Finds verified workers under one policy."""

    def __init__(self, policy: Policy, *, clock: Callable[[], int], draw: Draw) -> None:
        self._verifier = Verifier(policy)
        self._clock = clock
        self._draw = draw
        self._listings: Remembered[tuple[str, str], Directory] = Remembered(MAX_LISTINGS)
        self._running: dict[tuple[str, str], Future[None]] = {}

    def find(self, call: Call, *, fresh: bool, pin: bytes = b"") -> Generator[Effect, Reply, Found]:
        """Candidates for a call; `fresh` looks past what is remembered.

        Equal `pin`s (32 secret bytes) draw equal candidates from an equal directory.
        Raises `ModelNotFound`, `NoVerifiedWorker`, `GatewayRefused`, `BadAnswer` or
        `GatewayError`.
        """
        key = (call.request.origin, call.head.model)
        if not fresh:
            yield from self._await_fetch(key)
        directory = None if fresh else self._listings.get(key, now=self._clock())
        if directory is not None:
            drawn = self._drawn(directory, call.head.model, pin)
            if drawn.chosen:
                return Found(directory, drawn.chosen)
        with self._fetching(key):
            directory = yield from self._fetch(call)
            self._listings.put(key, directory, expires=self._clock() + DIRECTORY_SECONDS)
        drawn = self._drawn(directory, call.head.model, pin)
        if not directory.workers:
            why = f"this gateway lists no worker of {call.head.model} now; nothing was sent"
            raise ModelNotFound(why, param="model")
        if not drawn.chosen:
            hint = _clock_hint(self._clock() - directory.now)
            raise NoVerifiedWorker(_why_nobody(call.head.model, drawn) + hint)
        return Found(directory, drawn.chosen)

    def _await_fetch(self, key: tuple[str, str]) -> Generator[Effect, Reply, None]:
        """Let a fetch that runs already end; whether it found anything shows afterwards."""
        if self._listings.get(key, now=self._clock()) is None:
            running = self._running.get(key)
            if running is not None:
                yield Wait(running)

    @contextmanager
    def _fetching(self, key: tuple[str, str]) -> Iterator[None]:
        """Mark a fetch as running, until it ends in whatever way."""
        done: Future[None] = Future()
        mine = self._running.setdefault(key, done) is done
        try:
            yield
        finally:
            if mine:
                self._running.pop(key, None)
                done.set_result(None)

    def _fetch(self, call: Call) -> Generator[Effect, Reply, Directory]:
        query = urlencode({"model": call.head.model})
        url = f"{call.request.origin}{DIRECTORY_PATH}?{query}"
        head = yield from send(Send("GET", url, own_headers(call.request)))
        if head.status != _OK:
            raise gateway_error(head, (yield from read_all(MAX_ERROR_BYTES)))
        data = yield from read_all(MAX_DIRECTORY_BYTES)
        return parse_directory(data, self._verifier.policy)

    def _drawn(self, directory: Directory, model: str, pin: bytes) -> Drawn:
        return draw_candidates(
            directory.workers,
            model,
            verify=lambda entry, now: self._verifier.verify(
                entry,
                collateral_of(directory, entry),
                now=now,
                vendor=vendor_of(directory, entry),
            ),
            now=self._clock(),
            draw=self._draw,
            pin=pin,
        )


def own_headers(request: ClearRequest) -> Headers:
    """The headers of a request of ours, with the caller's key."""
    kept = tuple(pair for pair in request.headers if pair[0] in _SENT_ON)
    # Compressed, lengths of frames would be lost to the peer and tell of content to others.
    return (*kept, ("accept-encoding", "identity"))


def _why_nobody(model: str, drawn: Drawn) -> str:
    if not drawn.refused:
        return f"no worker offers {model} at this gateway now; nothing was sent"
    shown = "; ".join(dict.fromkeys(drawn.refused[:_SHOWN_REFUSALS]))
    return f"no worker of {model} passes the policy; nothing was sent. Refused: {shown}"


def _clock_hint(ahead: int) -> str:
    """To a wrong clock offers and keysets have run out, or are of the future."""
    if abs(ahead) <= MAX_SKEW_SECONDS:
        return ""
    where = "ahead of" if ahead > 0 else "behind"
    return (
        f". This machine's clock is {abs(ahead)} s {where} the gateway's (limit "
        f"{MAX_SKEW_SECONDS} s): set the clock right"
    )
