"""An evil web page at the sidecar of whoever visits it (SPEC 11).

Each attack breaks one rule alone: a page that has got hold of a key still meets the other walls.
"""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from bombyx.attack.defence import Defence
from bombyx.attack.means.requests import ANSWER_SECONDS, Reply
from bombyx.attack.record import Declare, Role, Seen, attack, defeated, judged, succeeded
from bombyx.attack.target import Need, Target
from bombyx.chat.paths import CHAT_PATH

EVIL = "https://evil.example"
OK, REDIRECT = 200, 300
MODELS = "/v1/models"


async def ask(
    target: Target, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
) -> Reply:
    """One request to the sidecar, with these headers and no others."""
    sending = target.http.request(
        method,
        target.sidecar + path,
        data=body,
        headers=headers,
        skip_auto_headers=("content-type", "user-agent"),
        timeout=ANSWER_SECONDS,
    )
    async with sending as answer:
        pairs = {name.lower(): value for name, value in answer.headers.items()}
        return Reply(answer.status, pairs, await answer.read())


def chat(target: Target) -> bytes:
    """A question that costs its victim money."""
    model = target.policy.models[0].name if target.policy else "scripted"
    document: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": "say: paid by the visitor"}],
    }
    return msgspec.json.encode(document)


def bearer(target: Target) -> str:
    """A key that the sidecar's gateway takes."""
    return f"Bearer {target.api_key}"


def served(reply: Reply) -> Seen:
    """Whether the sidecar did what the page asked."""
    return judged(reply.status == OK, str(reply))


def page_attack(expected: str) -> Declare:
    """An attack by a page."""
    return attack(Role.PAGE, Defence.PAGE_WALL, expected, Need.SIDECAR)


@page_attack("403 forbidden")
async def page_with_own_origin(target: Target) -> Seen:
    """Fetches with a key, from an origin of its own."""
    return served(
        await ask(target, "GET", MODELS, {"authorization": bearer(target), "origin": EVIL})
    )


@page_attack("403 forbidden")
async def page_in_a_sandbox(target: Target) -> Seen:
    """Fetches from a sandboxed frame, whose origin is `null`."""
    return served(
        await ask(target, "GET", MODELS, {"authorization": bearer(target), "origin": "null"})
    )


@page_attack("403 forbidden")
async def page_that_navigates(target: Target) -> Seen:
    """Has the browser load a route as an image, which sends no Origin but says where it is from."""
    headers = {"authorization": bearer(target), "sec-fetch-site": "cross-site"}
    return served(await ask(target, "GET", MODELS, headers))


@page_attack("421 misdirected_request")
async def host_name_rebound(target: Target) -> Seen:
    """Lets its own host name resolve to 127.0.0.1, so that the browser sees one origin."""
    port = urlsplit(target.sidecar).port
    headers = {"authorization": bearer(target), "host": f"evil.example:{port}"}
    return served(await ask(target, "GET", MODELS, headers))


@page_attack("421 misdirected_request")
async def host_name_that_looks_local(target: Target) -> Seen:
    """Rebinds a name that begins like the sidecar's own."""
    port = urlsplit(target.sidecar).port
    headers = {"authorization": bearer(target), "host": f"localhost.evil.example:{port}"}
    return served(await ask(target, "GET", MODELS, headers))


@page_attack("415 unsupported_media_type")
async def form_without_preflight(target: Target) -> Seen:
    """Posts a question as text/plain, which browsers send without asking first."""
    reply = await ask(
        target,
        "POST",
        CHAT_PATH,
        {"authorization": bearer(target), "content-type": "text/plain"},
        chat(target),
    )
    # A sidecar that reads on refuses later, for what the body is to it: that is a way in.
    beyond = reply.status == OK or reply.code not in ("unsupported_media_type", "forbidden")
    return judged(beyond, str(reply))


@page_attack("no CORS header, no 2xx")
async def preflight_probed(target: Target) -> Seen:
    """Asks by preflight whether it may send a key, to find and use a sidecar."""
    reply = await ask(
        target,
        "OPTIONS",
        CHAT_PATH,
        {
            "origin": EVIL,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization, content-type",
        },
    )
    allowed = [name for name in reply.headers if name.startswith("access-control-")]
    return judged(
        bool(allowed) or reply.status < REDIRECT, f"{reply}, {allowed or 'no CORS headers'}"
    )


@attack(Role.PAGE, Defence.SIDECAR_BEARER, "401 on every route", Need.SIDECAR)
async def question_without_a_key(target: Target) -> Seen:
    """Posts a question without any key, to spend the one that the sidecar was started with."""
    json = {"content-type": "application/json"}
    reply = await ask(target, "POST", CHAT_PATH, json, chat(target))
    return served(reply)


@attack(Role.PAGE, Defence.SIDECAR_BEARER, "401, and nothing is told", Need.SIDECAR)
async def key_in_the_query(target: Target) -> Seen:
    """Puts a key into the URL or a cookie, where a page can write without preflight."""
    cookie = {"cookie": f"token={target.api_key}"}
    reply = await ask(target, "GET", f"{MODELS}?api_key={target.api_key}", cookie)
    return served(reply)


@attack(Role.PAGE, Defence.SEALED_ONLY, "not_sealable: no body leaves in clear", Need.SIDECAR)
async def body_sent_in_clear(target: Target) -> Seen:
    """Posts a prompt to a route that cannot be sealed, so that it goes on in clear."""
    reply = await ask(
        target,
        "POST",
        "/v1/moderations",
        {"authorization": bearer(target), "content-type": "application/json"},
        chat(target),
    )
    return judged(reply.code != "not_sealable", str(reply))


@attack(Role.PAGE, Defence.PAGE_WALL, "only the configured gateway is asked", Need.SIDECAR)
async def upstream_redirected(target: Target) -> Seen:
    """Names an upstream of its own in path and headers, to be sent the key."""
    asked: list[bytes] = []
    async with _listening(asked) as port:
        evil = f"127.0.0.1:{port}"
        for path, headers in (
            (f"/v1/models?gateway=http://{evil}", {}),
            (MODELS, {"x-forwarded-host": evil, "x-bombyx-gateway": f"http://{evil}"}),
            (f"//{evil}/v1/models", {}),
        ):
            await ask(target, "GET", path, {"authorization": bearer(target), **headers})
        await _raw(target, f"GET http://{evil}/v1/models HTTP/1.1")
        await asyncio.sleep(0.05)
    return judged(bool(asked), f"{len(asked)} requests came to the page's own server")


async def _raw(target: Target, line: str) -> None:
    """A request line that no HTTP library sends to an origin server."""
    where = urlsplit(target.sidecar)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    words = (line, f"Host: {where.netloc}", f"Authorization: {bearer(target)}", "Connection: close")
    writer.write(("\r\n".join(words) + "\r\n\r\n").encode())
    with contextlib.suppress(ConnectionError):
        await reader.read(2**16)
    writer.close()


@contextlib.asynccontextmanager
async def _listening(asked: list[bytes]) -> AsyncIterator[int]:
    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(2**16))
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


@attack(Role.NEIGHBOUR, Defence.LOOPBACK, "nobody listens there", Need.SIDECAR)
async def sidecar_from_another_machine(target: Target) -> Seen:
    """Connects to the sidecar's port by this machine's address in the network."""
    port = urlsplit(target.sidecar).port or 0
    tried = []
    for address in _own_addresses():
        tried.append(address)
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1.0):
                _, writer = await asyncio.open_connection(address, port)
            writer.close()
            return succeeded("the sidecar listens beyond loopback")
    return defeated(f"tried {len(tried)} addresses of this machine")


def _own_addresses() -> list[str]:
    """Addresses of this machine that are not loopback; 127.0.0.2 is, and yet not the sidecar's."""
    found = {"127.0.0.2"}
    with contextlib.suppress(OSError):
        found |= {str(one[4][0]) for one in socket.getaddrinfo(socket.gethostname(), None)}
    return sorted(one for one in found if one not in ("127.0.0.1", "::1") and _is_plain(one))


def _is_plain(address: str) -> bool:
    with contextlib.suppress(ValueError):
        return getattr(ipaddress.ip_address(address), "scope_id", None) is None
    return False
