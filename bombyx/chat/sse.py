"""Server-sent events, read and written (WHATWG HTML 9.2; SPEC 3).

`feed` takes bytes torn anywhere. Lines end in CRLF, LF or CR; comments, `id` and `retry` are passed
over. OpenAI servers send one `data:` line per event, and that shape has a path of its own.
"""

from dataclasses import dataclass

from bombyx.errors import BadStream

MAX_EVENT_BYTES = 8 * 2**20
"""One event: a whole answer with logprobs fits, a server that never ends a line does not."""

DONE = b"data: [DONE]\n\n"
DONE_DATA = b"[DONE]"


@dataclass(frozen=True, slots=True)
class Event:
    """One dispatched event; `data` without its line end, `event` None where none was named."""

    data: bytes
    event: str | None = None


class SseDecoder:
    """Bytes in, events out."""

    __slots__ = ("_data", "_event", "_limit", "_rest", "_size", "_skip_lf", "_started")

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._limit = max_event_bytes
        self._rest = bytearray()
        self._data: list[bytes] = []
        self._event: str | None = None
        self._size = 0
        self._skip_lf = False
        self._started = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Events completed by `chunk`; raises `BadStream` when one grows beyond the limit."""
        if not chunk:
            return []
        if self._is_plain(chunk):
            parts = chunk.split(b"\n\n")
            if all(part.startswith(b"data: ") and b"\n" not in part for part in parts[:-1]):
                self._check_size(max(map(len, parts)))
                return [Event(part[6:]) for part in parts[:-1]]
        return self._feed_lines(chunk)

    def finish(self) -> None:
        """The stream ended; raises `BadStream` when it ended inside an event."""
        if self._rest.strip(b"\r\n") or self._data:
            raise BadStream("the event stream ended inside an event")

    def _is_plain(self, chunk: bytes) -> bool:
        between = not (self._rest or self._data or self._event or self._skip_lf)
        if between and chunk.endswith(b"\n\n") and b"\r" not in chunk:
            self._started = self._started or not chunk.startswith(b"\xef")
            return self._started
        return False

    def _feed_lines(self, chunk: bytes) -> list[Event]:
        if self._started and not self._skip_lf and not (b"\n" in chunk or b"\r" in chunk):
            self._rest += chunk  # a line that trickles in is copied once, not for each piece
            self._check_size(self._size + len(self._rest))
            return []
        buffer = bytes(self._rest) + chunk
        if self._skip_lf and buffer.startswith(b"\n"):
            buffer = buffer[1:]
        self._skip_lf = False
        if not self._started:
            # A byte order mark may come in three chunks.
            if buffer in (b"\xef", b"\xef\xbb"):
                self._rest = bytearray(buffer)
                return []
            buffer = buffer.removeprefix(b"\xef\xbb\xbf")
            self._started = True
        lines = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        # After a CR the line has ended; an LF that follows in the next chunk belongs to it.
        self._skip_lf = buffer.endswith(b"\r")
        self._rest = bytearray(lines.pop())
        events = [event for line in lines if (event := self._line(line)) is not None]
        self._check_size(self._size + len(self._rest))
        return events

    def _line(self, line: bytes) -> Event | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        if name == b"data":
            # The whole line counts: a million empty ones are no empty event.
            self._size += len(line)
            self._check_size(self._size)
            self._data.append(value.removeprefix(b" "))
        elif name == b"event":
            self._event = value.removeprefix(b" ").decode("utf-8", "replace")
        return None

    def _dispatch(self) -> Event | None:
        data, event = b"\n".join(self._data), self._event
        self._data, self._event, self._size = [], None, 0
        return Event(data, event) if data else None

    def _check_size(self, size: int) -> None:
        if size > self._limit:
            raise BadStream("an event of the stream is larger than allowed")


def encode_event(data: bytes) -> bytes:
    """One event; `data` is JSON on one line."""
    return b"data: " + data + b"\n\n"


def encode_named(name: str, data: bytes) -> bytes:
    """One event with a name; `data` is JSON on one line."""
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
