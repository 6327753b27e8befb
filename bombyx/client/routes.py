"""Which requests may leave, and how (SPEC 14): sealed, or clear because they hold no secret.

The table is an allow-list. What it does not name stays here: no body ever leaves in clear.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from bombyx.chat.body import Body, RequestHead, parse_body, request_head
from bombyx.chat.paths import SERVED_PATHS
from bombyx.client.effects import ClearRequest
from bombyx.errors import NotFound, NotSealable, RequestError, TooLarge, WrongMediaType

SEALED_PATHS = frozenset(SERVED_PATHS)
"""Paths whose requests and answers the protocol can seal."""
_BELOW = tuple(f"{path}/" for path in SERVED_PATHS)
"""Compaction, batches, cancelling: of what lies below a sealed path, little is served."""
MAX_BODY_BYTES = 64 * 2**20
"""Dozens of images fit; far below what a worker would be asked to hold."""
_VERSION = "/v1/"


@dataclass(frozen=True, slots=True, repr=False)
class Call:
    """A request that will be sealed, read as far as its header needs."""

    request: ClearRequest
    body: Body
    head: RequestHead


def split_url(url: str) -> tuple[str, str, str]:
    """Origin with prefix, path from `/v1/` on (or all of it), query."""
    parts = urlsplit(url)
    at = max(0, parts.path.find(_VERSION))
    return f"{parts.scheme}://{parts.netloc}{parts.path[:at]}", parts.path[at:], parts.query


def is_clear(request: ClearRequest) -> bool:
    """Whether the request holds nothing to protect: a GET of the API without a body."""
    is_api = request.path.startswith(_VERSION)
    return is_api and request.method == "GET" and not request.body


def read_call(request: ClearRequest) -> Call:
    """A request to seal; raises `RequestError` for all that cannot be, before anything leaves."""
    if not request.path.startswith(_VERSION):
        raise NotSealable("the URL has no /v1/: set base_url to the gateway's, ending in /v1")
    if request.path.startswith(_BELOW) and request.path not in SEALED_PATHS:
        # SDKs ask for these of every server and know what to make of a 404.
        raise NotFound("this path is not served, and nothing was sent")
    if request.method != "POST" or request.path not in SEALED_PATHS:
        raise NotSealable(
            f"{request.method} {request.path} cannot be sealed, and nothing is sent in clear"
        )
    if request.query:
        raise NotSealable("a query cannot be sealed, and nothing is sent in clear")
    if len(request.body) > MAX_BODY_BYTES:
        raise TooLarge(f"a request holds at most {MAX_BODY_BYTES} bytes")
    _check_media_type(request)
    body = parse_body(request.body)
    return Call(request, body, request_head(request.path, body))


def _check_media_type(request: ClearRequest) -> None:
    media_type = request.header("content-type").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise WrongMediaType("only application/json can be sealed")
    if request.header("content-encoding") not in ("", "identity"):
        # Compressed before it is sealed, a body's length would tell of its content.
        raise RequestError("a compressed body cannot be sealed")
