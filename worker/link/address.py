"""From what an owner types to what is dialled and by which proxy (SPEC 10)."""

from ipaddress import ip_address
from urllib.parse import urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

from bombyx.errors import SetupError

LINK_PATH = "/v1/workers/link/0"
LIST_PATH = "/v1/gateways"
_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


def link_url(gateway: str) -> str:
    """`http(s)://HOST:PORT` becomes the link's URL; a ws URL stays. Raises `SetupError`."""
    parts = urlsplit(gateway)
    scheme = _SCHEMES.get(parts.scheme)
    if scheme is None or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise SetupError(f"{gateway!r} is no gateway: give http(s)://HOST:PORT or a ws(s) URL")
    if parts.scheme == scheme:
        return gateway
    if parts.path not in ("", "/"):
        raise SetupError(f"{gateway!r} has a path: give http(s)://HOST:PORT or the ws(s) URL")
    return urlunsplit((scheme, parts.netloc, LINK_PATH, "", ""))


def list_url(gateway: str) -> str | None:
    """Where a gateway lists its processes; None where a link's own URL was given."""
    parts = urlsplit(gateway)
    if parts.scheme not in ("http", "https"):
        return None
    return urlunsplit((parts.scheme, parts.netloc, LIST_PATH, "", ""))


def is_weaker(url: str, than: str) -> bool:
    """Whether `url` goes without TLS where `than` did not: nobody may talk us out of it."""
    return urlsplit(url).scheme not in ("wss", "https") and urlsplit(than).scheme in (
        "wss",
        "https",
    )


def proxy_for(url: str) -> str | None:
    """The proxy of the environment (`HTTPS_PROXY`, `NO_PROXY`); none for this machine itself."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if _is_loopback(host) or proxy_bypass(host):
        return None
    return getproxies().get("https" if parts.scheme in ("wss", "https") else "http")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
