"""Checks of what pages in browsers need: preflights, and headers that they may read."""

from bombyx.conformance.chat import CHAT, HELLO, asking
from bombyx.conformance.record import check
from bombyx.conformance.server import Server
from bombyx.conformance.verdict import Lacks, expect, shown

AREA = "browsers"
FETCH = "WHATWG Fetch section 3.3, CORS protocol; `dangerouslyAllowBrowser` of openai-node"
ORIGIN = "https://app.example"
ASKED = ("authorization", "content-type", "x-stainless-os", "x-stainless-retry-count")
READ = ("x-request-id", "retry-after")
_REFUSED = (400, 403, 404, 405)


@check(AREA, FETCH)
async def a_preflight_allows_what_the_sdk_sends(server: Server) -> str:
    """A page's preflight needs no key and allows POST with the SDK's own headers."""
    headers = {
        "authorization": "",
        "origin": ORIGIN,
        "access-control-request-method": "POST",
        "access-control-request-headers": ",".join(ASKED),
    }
    answer = await server.send("OPTIONS", CHAT, headers=headers)
    if answer.status in _REFUSED:
        raise Lacks(f"pages may not call: {answer.error(*_REFUSED)['message']}")
    expect(answer.status in (200, 204), f"the preflight was answered {answer.status}")
    origin = answer.headers.get("access-control-allow-origin", "")
    if not origin:
        raise Lacks("the page's origin may not call")
    expect(origin in ("*", ORIGIN), f"the allowed origin is {shown(origin)}")
    allowed = answer.headers.get("access-control-allow-headers", "").lower().replace(" ", "")
    missing = [name for name in ASKED if name not in allowed.split(",")]
    expect(not missing, f"{', '.join(missing)} may not be sent")
    methods = answer.headers.get("access-control-allow-methods", "")
    expect("POST" in methods or methods == "*", f"the allowed methods are {shown(methods)}")
    expect_no_credentials(origin, answer.headers.get("access-control-allow-credentials", ""))
    return f"origin {origin}"


@check(AREA, FETCH)
async def a_page_may_read_what_it_needs(server: Server) -> str:
    """Answers to a page name its origin and expose the request id and the time to wait."""
    answer = await server.post(CHAT, asking(HELLO), headers={"origin": ORIGIN})
    if answer.status in _REFUSED:
        raise Lacks(f"pages may not call: {answer.error(*_REFUSED)['message']}")
    answer.ok()
    origin = answer.headers.get("access-control-allow-origin", "")
    if not origin:
        raise Lacks("the page's origin may not call")
    expect(origin in ("*", ORIGIN), f"the allowed origin is {shown(origin)}")
    exposed = answer.headers.get("access-control-expose-headers", "").lower()
    missing = [name for name in READ if name not in exposed.replace(" ", "").split(",")]
    expect(not missing, f"{', '.join(missing)} may not be read")
    return ", ".join(READ)


def expect_no_credentials(origin: str, credentials: str) -> None:
    """`*` and cookies exclude each other; raises `Wrong`."""
    expect(not (origin == "*" and credentials), "every origin may call, and with credentials")
