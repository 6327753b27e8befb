"""Rules for a proxy in front of several processes (SPEC 10.5): links by slot, all else shared.

The path of a link, and what lies below it, goes to the process of that slot; workers check that the
URL that they dialled is the one that the process signs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.settings import LINK_PREFIX


class ProxyKind(StrEnum):
    """Whose rules."""

    CADDY = "caddy"
    NGINX = "nginx"


@dataclass(frozen=True, slots=True)
class Front:
    """What is in front of what: `links` are (slot, HOST:PORT)."""

    site: str
    public: str
    links: Sequence[tuple[int, str]]
    max_request_mb: int
    read_seconds: int
    """Longest silence of the gateway within an answer."""


def rules(kind: ProxyKind, front: Front) -> str:
    """The text of a Caddyfile, or of a file in nginx's `conf.d`."""
    return _caddy(front) if kind is ProxyKind.CADDY else _nginx(front)


def _caddy(front: Front) -> str:
    lines = [
        f"{front.site} {{",
        "\trequest_body {",
        f"\t\tmax_size {front.max_request_mb}MB",
        "\t}",
    ]
    for slot, address in front.links:
        path = f"{LINK_PREFIX}{slot}"
        lines += [
            f"\t@link{slot} path {path} {path}/*",
            f"\thandle @link{slot} {{",
            *_caddy_upstream(address),
            "\t}",
        ]
    lines += ["\thandle {", *_caddy_upstream(front.public), "\t}", "}"]
    return "\n".join(lines) + "\n"


def _caddy_upstream(address: str) -> list[str]:
    # Tokens must not wait in a buffer.
    return [f"\t\treverse_proxy {address} {{", "\t\t\tflush_interval -1", "\t\t}"]


def _nginx(front: Front) -> str:
    lines = [
        "map $http_upgrade $bombyx_connection {",
        "    default upgrade;",
        '    ""      "";',
        "}",
        "",
        "server {",
        "    listen 443 ssl;",
        f"    server_name {front.site};",
        "    # ssl_certificate and ssl_certificate_key are yours to name.",
        f"    client_max_body_size {front.max_request_mb}m;",
        "    proxy_http_version 1.1;",
        "    proxy_buffering off;",
        "    proxy_request_buffering off;",
        f"    proxy_read_timeout {front.read_seconds}s;",
        f"    proxy_send_timeout {front.read_seconds}s;",
        "    proxy_set_header Host $host;",
        "    proxy_set_header Upgrade $http_upgrade;",
        "    proxy_set_header Connection $bombyx_connection;",
    ]
    for slot, address in front.links:
        path = f"{LINK_PREFIX}{slot}"
        lines += [
            *_location(f"= {path}", address),
            *_location(f"^~ {path}/", address),
        ]
    lines += [*_location("/", front.public), "}"]
    return "\n".join(lines) + "\n"


def _location(path: str, address: str) -> list[str]:
    return ["", f"    location {path} {{", f"        proxy_pass http://{address};", "    }"]
