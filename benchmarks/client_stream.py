"""CPU of an answer's frames: sealed at the worker, opened at the client; and of a whole answer.

A frame holds one event of a chat stream, as long as most tokens' are. A whole answer is what comes
back for one request that is not streamed, with its receipt verified: signature, path, arithmetic.
"""

import statistics
import time
from collections.abc import Callable

from bombyx.envelope.documents import ResponseHead
from bombyx.envelope.opener import ResponseOpener
from bombyx.envelope.response import Padding, ResponseSealer

FRAMES = 2000
ROUNDS = 15
EVENT = b'data: {"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk",' + b"x" * 120
H, SALT, SECRET, WORKER = b"\1" * 32, b"\2" * 32, b"\3" * 32, "w"
HEAD = ResponseHead(status=200, headers=[("content-type", "text/event-stream")])


def measure() -> list[dict[str, object]]:
    """Medians in microseconds a frame."""
    rows: list[dict[str, object]] = []
    for padding in Padding:
        sealing, opening = zip(*(_round(padding) for _ in range(ROUNDS)), strict=True)
        seal, opened = statistics.median(sealing), statistics.median(opening)
        name = f"stream frame, {padding.value}"
        rows += [
            {"case": f"{name}: seal + open", "us_cpu": round(seal + opened, 2), "unit": "frame"},
            {"case": f"{name}: seal alone", "us_cpu": round(seal, 2), "unit": "frame"},
        ]
    return rows


def _round(padding: Padding) -> tuple[float, float]:
    sealer = ResponseSealer(SECRET, h=H, salt=SALT, padding=padding)
    opener = ResponseOpener(H, {WORKER: SECRET})
    opener.feed(SALT + sealer.head(HEAD))
    sealed: list[bytes] = []

    def seal() -> None:
        sealed.extend(sealer.data(EVENT) for _ in range(FRAMES))

    def opened() -> None:
        for frame in sealed:
            opener.feed(frame)

    return _cpu(seal), _cpu(opened)


def _cpu(action: Callable[[], None]) -> float:
    start = time.process_time_ns()
    action()
    return (time.process_time_ns() - start) / 1000 / FRAMES
