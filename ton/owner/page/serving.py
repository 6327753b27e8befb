"""`bombyx owner page`: one page on loopback, for whoever has its address.

The path holds a random token, since other users and web pages of this machine reach loopback too;
the Host header must be loopback's, so that no name that was made to point here is served. Nothing
is loaded from elsewhere, nothing can be changed.
"""

import json
import secrets
import threading
from collections.abc import Callable
from functools import partial
from hmac import compare_digest
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files

from bombyx.errors import BombyxError, SetupError

HOST = "127.0.0.1"
TOKEN_BYTES = 16
DATA = "status.json"
IDLE_SECONDS = 30.0
FRESH_SECONDS = 1.0
"""Several tabs look at the worker and its gateways no more often than this."""
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_FILES = {
    "": ("index.html", "text/html; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
}

Told = Callable[[], dict[str, object]]
"""The document as it is now; blocks for some seconds at most."""


class Fresh:
    """Looks at most once a second, whoever asks; `now` is monotonic seconds."""

    def __init__(self, told: Told, now: Callable[[], float]) -> None:
        self._told = told
        self._now = now
        self._lock = threading.Lock()
        self._at = float("-inf")
        self._body = b""

    def body(self) -> bytes:
        """The document as JSON; raises `BombyxError`."""
        with self._lock:
            if self._now() - self._at >= FRESH_SECONDS:
                self._body = json.dumps(self._told(), separators=(",", ":")).encode()
                self._at = self._now()
            return self._body


class Page(BaseHTTPRequestHandler):
    """Answers GET below the token's path, and 404 to everything else."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    server_version = "bombyx"
    sys_version = ""

    def __init__(self, *given: object, token: str, fresh: Fresh, own: "Callable[[], int]") -> None:
        self._token = token
        self._fresh = fresh
        self._own = own
        super().__init__(*given)  # type: ignore[arg-type]  # socketserver's three

    def do_GET(self) -> None:
        """One file, or the document."""
        _, _, rest = self.path.partition("/")
        token, slash, name = rest.partition("/")
        name = name.partition("?")[0]
        is_right = compare_digest(token.encode(), self._token.encode())
        if not (is_right and slash and self._is_ours()):
            self._answer(HTTPStatus.NOT_FOUND, b"", "text/plain")
        elif name == DATA:
            self._tell()
        elif name in _FILES:
            file, kind = _FILES[name]
            raw = files(__package__).joinpath("static", file).read_bytes()
            self._answer(HTTPStatus.OK, raw, kind)
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"", "text/plain")

    def log_message(self, *_given: object) -> None:
        """Nothing: each line would hold the token."""

    def _is_ours(self) -> bool:
        port = self._own()
        return self.headers.get("Host") in {f"{HOST}:{port}", f"localhost:{port}"}

    def _tell(self) -> None:
        status, sentence = HTTPStatus.OK, ""
        try:
            body = self._fresh.body()
        except BombyxError as error:
            status, sentence = HTTPStatus.SERVICE_UNAVAILABLE, error.message
        except Exception as error:  # noqa: BLE001 - the boundary of a page that stays open
            # The message of an unforeseen error may hold content; its type cannot.
            kind = type(error).__name__
            status, sentence = HTTPStatus.INTERNAL_SERVER_ERROR, f"an unforeseen {kind}"
        if sentence:
            body = json.dumps({"error": sentence}).encode()
        self._answer(status, body, "application/json")

    def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """On loopback alone; a visitor that hangs holds up nobody."""

    daemon_threads = True

    def __init__(self, told: Told, *, port: int, now: Callable[[], float]) -> None:
        self.token = secrets.token_urlsafe(TOKEN_BYTES)
        handler = partial(Page, token=self.token, fresh=Fresh(told, now), own=self.own_port)
        try:
            super().__init__((HOST, port), handler)
        except OSError as error:
            raise SetupError(f"port {port} of {HOST} cannot be used: {error.strerror}") from None

    def own_port(self) -> int:
        """The one it got."""
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """The page's address, with the token in it."""
        return f"http://{HOST}:{self.own_port()}/{self.token}/"

    def handle_error(self, *_given: object) -> None:
        """A browser that hung up: nothing that anybody need know."""


def serve(told: Told, *, port: int, ready: Callable[[str], None], now: Callable[[], float]) -> None:
    """Until Ctrl-C; raises `SetupError` where the port is taken."""
    with Server(told, port=port, now=now) as server:
        ready(server.url)
        server.serve_forever()
