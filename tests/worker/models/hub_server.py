"""A model hub on loopback: listing in pages, ranges, and the faults that a test asks for."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

REVISION = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "silk/tiny"
LARGE = (".safetensors", ".gguf", ".bin")


@dataclass
class Hub:
    """What it holds, and how it behaves; `cut` is after how many bytes each answer breaks off."""

    files: dict[str, bytes]
    url: str = ""
    cut: int = 0
    token: str = ""
    ignores_ranges: bool = False
    listing: Any = None
    status: int = 0
    failures: int = 0
    """So many transfers are answered 503 first."""
    shift: int = 0
    """How far beyond the asked range its answers begin."""
    pages: int = 1
    ranges: list[str] = field(default_factory=list)
    served: dict[str, bytes] = field(default_factory=dict)
    """Bytes that are sent in place of the listed ones."""

    def entries(self) -> list[dict[str, Any]]:
        return [self._entry(path, data) for path, data in sorted(self.files.items())]

    def _entry(self, path: str, data: bytes) -> dict[str, Any]:
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        entry: dict[str, Any] = {"type": "file", "oid": blob, "size": len(data), "path": path}
        if path.endswith(LARGE):
            sha256 = hashlib.sha256(data).hexdigest()
            entry |= {"oid": "0" * 40, "lfs": {"oid": sha256, "size": len(data)}}
        return entry


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - one class
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            if hub.token and self.headers.get("authorization") != f"Bearer {hub.token}":
                self._answer(401, b"")
            elif hub.status:
                self._answer(hub.status, b"")
            elif self.path.startswith(f"/api/models/{REPOSITORY}/tree/{REVISION}"):
                self._list()
            elif self.path.startswith(f"/{REPOSITORY}/resolve/{REVISION}/"):
                path = unquote(urlsplit(self.path).path).split("/", 5)[5]
                data = hub.served.get(path, hub.files.get(path))
                self._send(data) if data is not None else self._answer(404, b"")
            else:
                self._answer(404, b"")

        def _list(self) -> None:
            if hub.listing is not None:
                self._answer(200, json.dumps(hub.listing).encode())
                return
            entries = [{"type": "directory", "oid": "", "size": 0, "path": "x"}, *hub.entries()]
            page = int(self.path.rpartition("cursor=")[2]) if "cursor=" in self.path else 0
            each = -(-len(entries) // hub.pages)
            headers = {}
            if page + 1 < hub.pages:
                base = urlsplit(self.path).path
                headers["link"] = f'<{hub.url}{base}?cursor={page + 1}>; rel="next"'
            some = entries[page * each : (page + 1) * each]
            self._answer(200, json.dumps(some).encode(), headers)

        def _send(self, data: bytes) -> None:
            asked = self.headers.get("range", "")
            hub.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            if hub.failures:
                hub.failures -= 1
                self._answer(503, b"")
            elif asked and not hub.ignores_ranges:
                if start >= len(data):
                    self._answer(416, b"")
                    return
                end = len(data) - 1
                headers = {"content-range": f"bytes {start + hub.shift}-{end}/{len(data)}"}
                self._answer(206, data[start:], headers, cut=hub.cut)
            else:
                self._answer(200, data, cut=hub.cut)

        def _answer(
            self, status: int, body: bytes, headers: dict[str, str] | None = None, cut: int = 0
        ) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body[:cut] if cut else body)
            if cut and cut < len(body):
                self.close_connection = True

    return Handler


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is no news."""


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """The hub on a port of its own."""
    server = _Server(("127.0.0.1", 0), _handler(hub))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
