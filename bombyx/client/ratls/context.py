"""A TLS context whose handshake ends only when the gateway's evidence holds (SPEC 17.11).

The standard library lets a context name the classes of its connections. Ours verify inside
`do_handshake` and refuse to write before it or after the evidence's end; so it holds for whatever
library is handed the context, and no byte of a request leaves unverified.
"""

import ssl
from collections.abc import Callable
from typing import Any, Final, NoReturn, Protocol

from bombyx.attestation.policy import Policy
from bombyx.attestation.ratls.verify import Presented, VerifiedGateway, verify_gateway
from bombyx.errors import GatewayRefused

_TOO_OLD: Final = frozenset(
    {
        "NO_PROTOCOLS_AVAILABLE",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "UNSUPPORTED_PROTOCOL",
        "WRONG_SSL_VERSION",
    }
)
"""What OpenSSL says of a peer that has no TLS 1.3."""

Judge = Callable[[Presented], VerifiedGateway]


class EvidenceError(ssl.SSLError):
    """Raised by a handshake whose peer is refused; libraries take it for a failed handshake.

    `refusal` says why, with all steps.
    """

    def __init__(self, refusal: GatewayRefused) -> None:
        super().__init__(1, refusal.message)
        self.refusal = refusal


class _Connection(Protocol):
    verified: VerifiedGateway | None


def gateway_context(
    policy: Policy,
    *,
    clock: Callable[[], int],
    on_judged: Callable[[Presented], None] = lambda _: None,
) -> ssl.SSLContext:
    """For clients of a gateway that the policy's `[gateway]` must allow; `clock` in unix seconds.

    Names and authorities count for nothing here: evidence does. `on_judged` hears of whatever a
    peer presented, before it is judged.
    """

    def judge(presented: Presented) -> VerifiedGateway:
        on_judged(presented)
        return verify_gateway(presented, policy=policy, now=clock())

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.options |= ssl.OP_NO_TICKET
    context.sslobject_class = _object_class(judge, clock)
    context.sslsocket_class = _socket_class(judge, clock)
    return context


def verified_of(connection: Any) -> VerifiedGateway | None:
    """The gateway at the other end of a connection of ours; None of any other object."""
    verified = getattr(connection, "verified", None)
    return verified if isinstance(verified, VerifiedGateway) else None


def judged_at(connection: Any) -> int:
    """When a connection of ours was verified, in unix seconds."""
    return int(getattr(connection, "judged_at", 0))


def refusal_of(error: BaseException | None) -> GatewayRefused | None:
    """Why a gateway was refused, if that is what an HTTP library's error comes from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, EvidenceError):
            return error.refusal
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def _object_class(judge: Judge, clock: Callable[[], int]) -> type[ssl.SSLObject]:
    class AttestedObject(ssl.SSLObject):
        """A connection of an event loop."""

        verified: VerifiedGateway | None = None
        judged_at: int = 0

        def do_handshake(self) -> None:
            try:
                super().do_handshake()
            except ssl.SSLError as error:
                _reraise(error, judge)
            self.verified, self.judged_at = _judged(self, judge), clock()

        def write(self, data: Any) -> int:
            _check_may_write(self, clock)
            return super().write(data)

    return AttestedObject


def _socket_class(judge: Judge, clock: Callable[[], int]) -> type[ssl.SSLSocket]:
    class AttestedSocket(ssl.SSLSocket):
        """A blocking connection."""

        verified: VerifiedGateway | None = None
        judged_at: int = 0

        def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - ssl's own
            try:
                super().do_handshake(block)
            except ssl.SSLError as error:
                _reraise(error, judge)
            self.verified, self.judged_at = _judged(self, judge), clock()

        def send(self, data: Any, flags: int = 0) -> int:
            _check_may_write(self, clock)
            return super().send(data, flags)

        def write(self, data: Any) -> int:
            _check_may_write(self, clock)
            return super().write(data)

    return AttestedSocket


def _judged(connection: ssl.SSLObject | ssl.SSLSocket, judge: Judge) -> VerifiedGateway:
    certificate = connection.getpeercert(binary_form=True)
    presented = Presented(
        certificate=certificate or b"",
        tls_version=connection.version() or "",
        is_resumed=bool(connection.session_reused),
    )
    try:
        return judge(presented)
    except GatewayRefused as refusal:
        raise EvidenceError(refusal) from None


def _reraise(error: ssl.SSLError, judge: Judge) -> NoReturn:
    """A peer without TLS 1.3 is refused by its step; other failures are the library's to tell."""
    if error.reason in _TOO_OLD:
        try:
            judge(Presented(b"", "older", is_resumed=False))
        except GatewayRefused as refusal:
            raise EvidenceError(refusal) from error
    raise error


def _check_may_write(connection: _Connection, clock: Callable[[], int]) -> None:
    """OpenSSL would shake hands by itself on a first write, and knows nothing of evidence."""
    verified = connection.verified
    if verified is None:
        raise EvidenceError(GatewayRefused("the gateway was not verified; nothing was sent"))
    if clock() >= verified.expires_at:
        raise EvidenceError(
            GatewayRefused("the gateway's evidence has ended; nothing more is sent")
        )
