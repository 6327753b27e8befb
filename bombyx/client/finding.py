"""Finding workers to seal to: the directory, remembered or fetched, and the draw (SPEC 13.1)."""

from collections.abc import Callable, Generator
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
)
from bombyx.client.effects import ClearRequest, Effect, Headers, Reply, Send, read_all, send
from bombyx.client.refusals import MAX_ERROR_BYTES, gateway_error
from bombyx.client.routes import Call
from bombyx.errors import NoVerifiedWorker

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

    def find(self, call: Call, *, fresh: bool) -> Generator[Effect, Reply, Found]:
        """Candidates for a call; `fresh` looks past what is remembered.

        Raises `NoVerifiedWorker`, `GatewayRefused`, `BadAnswer` or `GatewayError`.
        """
        key = (call.request.origin, call.head.model)
        directory = None if fresh else self._listings.get(key, now=self._clock())
        if directory is not None:
            drawn = self._drawn(directory, call.head.model)
            if drawn.chosen:
                return Found(directory, drawn.chosen)
        directory = yield from self._fetch(call)
        self._listings.put(key, directory, expires=self._clock() + DIRECTORY_SECONDS)
        drawn = self._drawn(directory, call.head.model)
        if not drawn.chosen:
            raise NoVerifiedWorker(_why_nobody(call.head.model, drawn))
        return Found(directory, drawn.chosen)

    def _fetch(self, call: Call) -> Generator[Effect, Reply, Directory]:
        query = urlencode({"model": call.head.model})
        url = f"{call.request.origin}{DIRECTORY_PATH}?{query}"
        head = yield from send(Send("GET", url, own_headers(call.request)))
        if head.status != _OK:
            raise gateway_error(head, (yield from read_all(MAX_ERROR_BYTES)))
        data = yield from read_all(MAX_DIRECTORY_BYTES)
        return parse_directory(data, self._verifier.policy)

    def _drawn(self, directory: Directory, model: str) -> Drawn:
        return draw_candidates(
            directory.workers,
            model,
            verify=lambda entry, now: self._verifier.verify(
                entry, collateral_of(directory, entry), now=now
            ),
            now=self._clock(),
            draw=self._draw,
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
