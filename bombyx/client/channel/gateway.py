"""A gateway's routes for channels, as a wallet asks them (SPEC 7.10). What they say is its word."""

from typing import Any, TypeVar

import httpx2
import msgspec

from bombyx.attestation.directory import MAX_DIRECTORY_BYTES
from bombyx.attestation.policy import Policy
from bombyx.client.channel.paying import receipt_in
from bombyx.client.directory import parse_directory
from bombyx.errors import (
    BadAnswer,
    ChannelClosed,
    CloseInFlight,
    GatewayUnreachable,
    PaymentRefused,
    Unauthenticated,
)
from bombyx.money.channel.documents import (
    ChannelView,
    CloseAnswer,
    Registration,
    encode_registration,
)
from bombyx.money.channel.terms import PaymentTerms, decode_terms

MAX_BYTES = 65_536
NOT_DEPLOYED = "channel_not_found"
"""The chain shows no such channel yet: ask again."""
_OK, _NO_KEY, _NOT_FOUND, _CONFLICT = 200, 401, 404, 409
_MAX_SENTENCE = 500
Kind = TypeVar("Kind")


class _Error(msgspec.Struct, frozen=True):
    message: str = ""
    code: str = ""


class _Envelope(msgspec.Struct, frozen=True):
    error: _Error = _Error()


class GatewayRoutes:
    """One account at one gateway; `authorization` is the header with its API key."""

    def __init__(self, client: httpx2.AsyncClient, *, origin: str, authorization: str) -> None:
        self._client = client
        self._headers = {"authorization": authorization, "accept-encoding": "identity"}
        self.origin = origin

    async def identity(self, policy: Policy) -> str:
        """The gateway's identity key in hex; raises `GatewayRefused` outside of the pin."""
        answer = await self._ask("GET", "/v1/confidential/workers?model=")
        if answer.status_code != _OK or len(answer.content) > MAX_DIRECTORY_BYTES:
            raise _refusal(answer)
        return parse_directory(answer.content, policy).gateway

    async def terms(self) -> PaymentTerms:
        """What a new channel needs; raises `PaymentRefused` where it takes none."""
        answer = await self._ask("GET", "/v1/channels/terms")
        if answer.status_code != _OK:
            raise _refusal(answer)
        return decode_terms(answer.content)

    async def register(self, registration: Registration) -> ChannelView | None:
        """Make a channel known, or have it looked at again; None while the chain shows none."""
        body = encode_registration(registration)
        answer = await self._ask("POST", "/v1/channels", body)
        if answer.status_code == _CONFLICT and _error(answer).code == NOT_DEPLOYED:
            return None
        return _read(answer, ChannelView)

    async def view(self, channel: str) -> ChannelView | None:
        """The gateway's books of a channel (hex); None where it knows none of ours by this name."""
        answer = await self._ask("GET", f"/v1/channels/{channel}")
        return None if answer.status_code == _NOT_FOUND else _read(answer, ChannelView)

    async def receipt(self, c: bytes) -> bytes | None:
        """The receipt of a request, not verified; None where there is none."""
        answer = await self._ask("GET", f"/v1/receipts?c={c.hex()}")
        return receipt_in(answer.content) if answer.status_code == _OK else None

    async def close(self, channel: str) -> CloseAnswer:
        """Ask for close terms; raises `CloseInFlight` while requests run, `ChannelClosed`."""
        answer = await self._ask("POST", f"/v1/channels/{channel}/close", b"{}")
        code = _error(answer).code if answer.status_code != _OK else ""
        if code == CloseInFlight.code:
            raise CloseInFlight("requests of this channel still run")
        if code == ChannelClosed.code:
            raise ChannelClosed("this channel is closed already")
        return _read(answer, CloseAnswer)

    async def _ask(self, method: str, path: str, body: bytes | None = None) -> httpx2.Response:
        headers = self._headers | ({} if body is None else {"content-type": "application/json"})
        try:
            return await self._client.request(
                method, self.origin + path, content=body, headers=headers, follow_redirects=False
            )
        except httpx2.TransportError as error:
            kind = type(error).__name__
            raise GatewayUnreachable(
                f"the gateway {self.origin} cannot be reached ({kind})"
            ) from None


def _read(answer: httpx2.Response, kind: type[Kind]) -> Kind:
    if answer.status_code != _OK or len(answer.content) > MAX_BYTES:
        raise _refusal(answer)
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise BadAnswer("the gateway's answer about a channel cannot be read") from None


def _refusal(answer: Any) -> PaymentRefused | Unauthenticated:
    error = _error(answer)
    said = error.message[:_MAX_SENTENCE] or f"status {answer.status_code}"
    if answer.status_code == _NO_KEY:
        return Unauthenticated(f"the gateway refused the key: {said}")
    return PaymentRefused(f"the gateway refused ({error.code or answer.status_code}): {said}")


def _error(answer: Any) -> _Error:
    try:
        return msgspec.json.decode(answer.content[:MAX_BYTES], type=_Envelope).error
    except (msgspec.DecodeError, ValueError, RecursionError):
        return _Error()
