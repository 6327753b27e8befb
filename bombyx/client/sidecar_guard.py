"""Who may use the sidecar (SPEC 11). Pure: every check is a function of a request's head.

A port on this machine is open to every web page that its user visits. So the Host must be ours
(DNS rebinding), no page may be behind the request (CORS and forms), and a bearer is asked for on
every route, which a form cannot send.
"""

import hmac
from dataclasses import dataclass

from bombyx.client.effects import Headers, find
from bombyx.errors import Forbidden, MethodNotAllowed, Misdirected, Unauthenticated, WrongMediaType

_NAMES = ("127.0.0.1", "[::1]", "localhost")
_BEARER = "bearer "


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """The sidecar's own token, and the gateway key that its holders use (empty: none is set)."""

    token: str
    api_key: str


def admit(method: str, headers: Headers, *, port: int, keys: Keys) -> str:
    """The `authorization` to send on; raises the refusal of the first rule that is broken.

    Whoever has the sidecar's token spends its configured key; any other key goes on as it is.
    """
    _check_host(headers, port)
    _check_no_page(headers)
    bearer = _bearer(headers)
    _check_form(method, headers)
    if not hmac.compare_digest(bearer.encode(), keys.token.encode()):
        return f"Bearer {bearer}"
    if not keys.api_key:
        raise Unauthenticated(
            "the sidecar has no key of its own for the gateway: start it with --api-key-file, or "
            "send the gateway's key instead of the sidecar's token"
        )
    return f"Bearer {keys.api_key}"


def _check_host(headers: Headers, port: int) -> None:
    if find(headers, "host").lower() not in {f"{name}:{port}" for name in _NAMES}:
        raise Misdirected("the sidecar answers to 127.0.0.1, [::1] and localhost with its port")


def _check_no_page(headers: Headers) -> None:
    if find(headers, "origin") or find(headers, "sec-fetch-site") == "cross-site":
        raise Forbidden("web pages may not use the sidecar")


def _bearer(headers: Headers) -> str:
    value = find(headers, "authorization")
    token = value[len(_BEARER) :].strip() if value[: len(_BEARER)].lower() == _BEARER else ""
    if not token:
        raise Unauthenticated("the sidecar wants `Authorization: Bearer` on every route")
    return token


def _check_form(method: str, headers: Headers) -> None:
    if method == "GET":
        return
    if method != "POST":
        raise MethodNotAllowed("the sidecar takes GET and POST")
    media_type = find(headers, "content-type").partition(";")[0].strip().lower()
    if media_type not in ("application/json", "multipart/form-data"):
        raise WrongMediaType("a POST carries application/json or multipart/form-data")
