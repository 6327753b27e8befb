"""What browsers need to be told (CORS), and the lines that every answer carries.

Keys travel in a header that pages must set themselves, never in cookies: so all origins may call by
default, and credentials are never allowed (SPEC 18).
"""

import re
from collections.abc import Iterable

from gateway.inference.exchange import HeaderPairs, header_of

ANY = "*"
METHODS = b"GET, POST, OPTIONS"
MAX_AGE_SECONDS = 7200
"""As long as Chromium remembers a preflight."""
MAX_ASKED = 2048
EXPOSED = (
    b"x-request-id, request-id, retry-after, retry-after-ms, x-should-retry, openai-processing-ms, "
    b"openai-version, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, "
    b"x-ratelimit-reset-requests, x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, "
    b"x-ratelimit-reset-tokens, x-bombyx-id, x-bombyx-tier, x-bombyx-worker, x-bombyx-route"
)
_VERSION = (b"openai-version", b"2020-10-01")
_VARY = (b"vary", b"origin")
# What SDKs send: OpenAI's x-stainless-*, Anthropic's, ours.
_ALLOWED = re.compile(
    rb"authorization|content-type|accept|idempotency-key|(?:x|openai|anthropic)-[a-z0-9-]{1,64}"
)


class Browsers:
    """The origins of one gateway."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = {origin.rstrip("/").encode() for origin in origins}
        self._any = ANY.encode() in self._origins
        everyone = [_VERSION, *_shown(b"*")] if self._any else [_VERSION, _VARY]
        self._everyone = everyone
        self._lines = _lines(everyone)

    def headers(self, request: HeaderPairs) -> HeaderPairs:
        """What every answer to this request carries."""
        if not self._any:
            origin = header_of(request, b"origin")
            if origin in self._origins:
                return [_VERSION, _VARY, *_shown(origin)]
        return self._everyone

    def lines(self, request: HeaderPairs) -> bytes:
        """The same as header lines, each with its end; built once where all origins may call."""
        if self._any:
            return self._lines
        return _lines(self.headers(request))

    def preflight(self, request: HeaderPairs) -> "HeaderPairs | None":
        """What answers a browser's question before a request; None where it asks none.

        Besides `headers`, which say whether its origin may call at all.

        An origin that may not call is told nothing, by which its browser knows.
        """
        wanted = header_of(request, b"access-control-request-method")
        origin = header_of(request, b"origin")
        if not (wanted and origin):
            return None
        if not (self._any or origin in self._origins):
            return []
        asked = header_of(request, b"access-control-request-headers")[:MAX_ASKED].lower()
        names = [name.strip() for name in asked.split(b",")]
        allowed = [name for name in names if _ALLOWED.fullmatch(name)]
        return [
            (b"access-control-allow-methods", METHODS),
            (b"access-control-allow-headers", b", ".join(allowed)),
            (b"access-control-max-age", b"%d" % MAX_AGE_SECONDS),
        ]


def _shown(origin: bytes) -> HeaderPairs:
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", EXPOSED),
    ]


def _lines(headers: HeaderPairs) -> bytes:
    return b"".join(name + b": " + value + b"\r\n" for name, value in headers)
