"""The server under test: requests as a check wants them, answers as they came over the wire."""

import asyncio
import contextlib
import json
import re
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from bombyx.chat.sse import Event, SseDecoder
from bombyx.conformance.verdict import Lacks, Wrong, expect, shown
from bombyx.errors import BadStream

TOO_MANY, UNAVAILABLE = 429, 503
MAX_RETRIES = 3
MAX_WAIT_SECONDS = 30.0
"""Longer limits are the answer: a check does not sit them out."""
ANNOUNCED_SECONDS = 10.0
"""How long a server may take to refuse a body by its announced length."""
_OK = 200
_OPTIONAL = (400, 404)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    headers: httpx2.Headers
    content: bytes

    def document(self) -> Any:
        """The JSON of the body; raises `Wrong`."""
        try:
            return json.loads(self.content)
        except ValueError:
            raise Wrong(f"status {self.status} with a body that is not JSON") from None

    def ok(self) -> Any:
        """The JSON of a 200; raises `Wrong`."""
        expect(self.status == _OK, f"status {self.status} instead of 200{self.reason()}")
        return self.document()

    def error(self, *statuses: int) -> Any:
        """The error of an answer that must be one, in OpenAI's envelope; raises `Wrong`."""
        wanted = " or ".join(map(str, statuses))
        expect(self.status in statuses, f"status {self.status} instead of {wanted}{self.reason()}")
        error = _member(self.document(), "error")
        expect(isinstance(error, dict), f"status {self.status} without an `error` object")
        for name in ("message", "type"):
            value = error.get(name)
            expect(
                isinstance(value, str) and value != "",
                f"`error.{name}` is not a text: {shown(value)}",
            )
        for name in ("code", "param"):
            expect(name in error, f"`error.{name}` is missing")
            value = error[name]
            expect(
                value is None or isinstance(value, str),
                f"`error.{name}` is neither a string nor null: {shown(value)}",
            )
        return error

    def if_served(self, feature: str) -> Any:
        """The JSON of a 200; raises `Lacks` for a proper refusal of an optional feature."""
        if self.status in _OPTIONAL:
            error = self.error(*_OPTIONAL)
            raise Lacks(f"{feature}: refused with {self.status}, {shown(error['message'])}")
        return self.ok()

    def reason(self) -> str:
        """What an error says, to be put behind a sentence."""
        with contextlib.suppress(ValueError):
            message = _member(_member(json.loads(self.content), "error"), "message")
            return f" ({shown(message)})" if message else ""
        return ""


@dataclass(frozen=True, slots=True)
class Stream:
    """A streamed answer, read to its end: its head, its events, when each came, all its bytes."""

    answer: Answer
    events: tuple[Event, ...]
    seconds: tuple[float, ...]

    def documents(self) -> list[Any]:
        """The JSON of every event but `[DONE]`; raises `Wrong`."""
        try:
            return [json.loads(event.data) for event in self.events if event.data != b"[DONE]"]
        except ValueError:
            raise Wrong("an event's data is not JSON in UTF-8") from None


class Server:
    """Somebody's gateway: its base URL, ending in `/v1`, a key, and a model that it serves."""

    def __init__(self, http: httpx2.AsyncClient, *, base: str, key: str, model: str) -> None:
        self._http = http
        self.base = base.rstrip("/")
        self.key = key
        self.model = model

    async def get(self, path: str, **options: Any) -> Answer:
        """A GET with the key."""
        return await self.send("GET", path, **options)

    async def post(self, path: str, body: Mapping[str, Any], **options: Any) -> Answer:
        """A POST of JSON with the key; `model` is named unless the body names one."""
        return await self.send("POST", path, content=self._encoded(body), **options)

    async def send(
        self,
        method: str,
        path: str,
        *,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
        patient: bool = True,
    ) -> Answer:
        """Any request; the patient wait when they are told to, as SDKs do."""
        for _ in range(MAX_RETRIES):
            answer = await self._send(method, path, content, self._headers(headers, content))
            wait = _wait_seconds(answer)
            if not patient or wait is None:
                return answer
            await asyncio.sleep(wait)
        return answer

    async def stream(self, path: str, body: Mapping[str, Any]) -> Stream:
        """A POST of JSON whose answer is read event by event; raises `Wrong` for torn streams."""
        content = self._encoded({**body, "stream": True})
        decoder, began = SseDecoder(), time.monotonic()
        pieces: list[bytes] = []
        events: list[Event] = []
        seconds: list[float] = []
        headers = self._headers(None, content)
        async with self._http.stream(
            "POST", self.base + path, content=content, headers=headers
        ) as response:
            is_stream = response.headers.get("content-type", "").startswith("text/event-stream")
            try:
                async for piece in response.aiter_bytes():
                    pieces.append(piece)
                    found = decoder.feed(piece) if is_stream else []
                    events += found
                    seconds += [time.monotonic() - began] * len(found)
                decoder.finish()
            except BadStream as error:
                raise Wrong(error.message) from None
        answer = Answer(response.status_code, response.headers, b"".join(pieces))
        return Stream(answer, tuple(events), tuple(seconds))

    @contextlib.asynccontextmanager
    async def begun(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[bytes]:
        """A streamed answer's first bytes; it is hung up on when the block ends."""
        content = self._encoded({**body, "stream": True})
        async with self._http.stream(
            "POST", self.base + path, content=content, headers=self._headers(None, content)
        ) as response:
            yield await anext(response.aiter_bytes(), b"")

    async def announce(self, path: str, length: int) -> Answer | None:
        """Announce a JSON body of so many bytes, send none; None where the server waits for it."""
        url = httpx2.URL(self.base + path)
        secure = ssl.create_default_context() if url.scheme == "https" else None
        port = url.port or (443 if secure else 80)
        reader, writer = await asyncio.open_connection(url.host, port, ssl=secure)
        # HTTP/1.0 asks for an answer in one piece, which ends by its length or the connection.
        head = (
            f"POST {url.raw_path.decode()} HTTP/1.0\r\nhost: {url.netloc.decode()}\r\n"
            f"authorization: Bearer {self.key}\r\ncontent-type: application/json\r\n"
            f"content-length: {length}\r\n\r\n"
        )
        try:
            writer.write(head.encode())
            async with asyncio.timeout(ANNOUNCED_SECONDS):
                return _parsed(*await _read_answer(reader))
        except TimeoutError:
            return None
        finally:
            writer.close()

    async def _send(
        self, method: str, path: str, content: bytes, headers: dict[str, str]
    ) -> Answer:
        response = await self._http.request(
            method, self.base + path, content=content, headers=headers
        )
        return Answer(response.status_code, response.headers, response.content)

    def _headers(self, given: Mapping[str, str] | None, content: bytes) -> dict[str, str]:
        """The key and, with a body, its type; an empty value takes a header away."""
        headers = {"authorization": f"Bearer {self.key}"}
        if content:
            headers["content-type"] = "application/json"
        headers |= given or {}
        return {name: value for name, value in headers.items() if value}

    def _encoded(self, body: Mapping[str, Any]) -> bytes:
        return json.dumps({"model": self.model, **body}).encode()


def _member(document: Any, name: str) -> Any:
    return document.get(name) if isinstance(document, dict) else None


def _wait_seconds(answer: Answer) -> float | None:
    """How long to wait before asking again; None for an answer that stands."""
    if answer.status not in (TOO_MANY, UNAVAILABLE):
        return None
    if answer.headers.get("x-should-retry") == "false":
        return None
    try:
        wait = float(answer.headers.get("retry-after", ""))
    except ValueError:
        return None
    return wait if 0 <= wait <= MAX_WAIT_SECONDS else None


async def _read_answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of an answer to HTTP/1.0; raises `Wrong` when none comes."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        return head, await (reader.readexactly(int(length[1])) if length else reader.read())
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
        raise Wrong("the connection was closed without an answer") from None


def _parsed(head: bytes, content: bytes) -> Answer:
    """The answer that these bytes are; raises `Wrong` when they are none."""
    status, *lines = head.decode("latin-1").strip().split("\r\n")
    parts = status.split(" ")
    if len(parts) < 2 or not parts[1].isdecimal():  # noqa: PLR2004 - version, status
        raise Wrong("what came is no answer of HTTP")
    pairs = [line.partition(":")[::2] for line in lines]
    headers = httpx2.Headers([(name.strip(), value.strip()) for name, value in pairs])
    return Answer(int(parts[1]), headers, content)
