"""The handshake decides (SPEC 17.11): real TLS, and not one byte for a gateway that is refused."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import uvloop
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bombyx.attestation.policy import Policy
from bombyx.attestation.ratls.verify import Presented
from bombyx.client.ratls.context import EvidenceError, gateway_context, refusal_of, verified_of
from bombyx.errors import GatewayRefused
from gateway.ratls.certificate import server_context
from tests.bombyx.attestation import world
from tests.bombyx.attestation.ratls.minting import (
    GATEWAY,
    HONEST,
    NOW,
    POLICY,
    Recipe,
    gateway_table,
    policy,
)
from tests.bombyx.attestation.ratls.test_verify import plain
from tests.bombyx.client.ratls.serving import Served, context_of, key_pem, load, serving

REQUEST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\nsecret"
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())


def client(policy: Policy = POLICY, *, now: Callable[[], int] = lambda: NOW) -> ssl.SSLContext:
    return gateway_context(policy, clock=now)


def ask(served: Served, context: ssl.SSLContext) -> bytes:
    """As a blocking library does it."""
    with (
        socket.create_connection(("127.0.0.1", served.port), timeout=5) as raw,
        context.wrap_socket(raw, server_hostname="127.0.0.1") as tls,
    ):
        tls.sendall(REQUEST)
        return tls.recv(65536)


async def ask_async(served: Served, context: ssl.SSLContext) -> bytes:
    """As asyncio's streams do it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port, ssl=context)
    try:
        writer.write(REQUEST)
        await writer.drain()
        return await reader.readuntil(b"{}")
    finally:
        writer.close()
        await writer.wait_closed()


WAYS = [
    ask,
    lambda served, context: asyncio.run(ask_async(served, context)),
    lambda served, context: uvloop.run(ask_async(served, context)),
]
ways = pytest.mark.parametrize("way", WAYS, ids=["blocking", "asyncio", "uvloop"])


def refused(served: Served, context: ssl.SSLContext, way: Any) -> GatewayRefused:
    with pytest.raises(EvidenceError) as caught:
        way(served, context)
    assert served.received == []
    return caught.value.refusal


@ways
def test_a_verified_gateway_is_told_the_request(way: Any) -> None:
    with serving(context_of()) as served:
        assert way(served, client()).endswith(b"{}")
    assert b"".join(served.received) == REQUEST


@pytest.mark.spec("17.11-f")
@ways
@pytest.mark.parametrize(
    ("recipe", "step"),
    [
        (replace(HONEST, bound={"gateway": "b8" * 32}), "report_data_binding"),
        (replace(HONEST, now=NOW - 7200), "tls_dates"),
        (replace(HONEST, now=NOW + 7200), "tls_dates"),
        (replace(HONEST, life=24 * 3600), "tls_dates"),
        (replace(HONEST, image=world.IMAGE), "measurement"),
        (replace(HONEST, body={"td_attributes": b"\1" + bytes(7)}), "debug_disabled"),
    ],
)
def test_a_refused_gateway_gets_no_byte_of_a_request(recipe: Recipe, step: str, way: Any) -> None:
    with serving(context_of(recipe)) as served:
        refusal = refused(served, client(), way)
    assert refusal.message.startswith(f"{step}: ")


@pytest.mark.spec("17.11-f")
@ways
def test_a_plain_certificate_gets_no_byte_of_a_request(way: Any) -> None:
    context = load(server_context(), plain(OTHER_KEY), key_pem(OTHER_KEY))
    with serving(context) as served:
        assert refused(served, client(), way).message.startswith("tls_certificate: a plain")


@pytest.mark.spec("17.11-b")
@ways
def test_a_gateway_that_offers_no_tls_1_3_gets_nothing(way: Any) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with serving(load(old, HONEST.certificate(), key_pem(HONEST.key))) as served:
        assert refused(served, client(), way).message.startswith("tls_channel: ")


def stolen_without_key() -> bytes:
    """A key file that claims the genuine public key beside another private one."""
    genuine = HONEST.key.public_key().public_bytes(Encoding.X962, _point())
    mine = OTHER_KEY.public_key().public_bytes(Encoding.X962, _point())
    der = OTHER_KEY.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    assert der.count(mine) == 1
    lines = ssl.DER_cert_to_PEM_cert(der.replace(mine, genuine))
    return lines.replace("CERTIFICATE", "EC PRIVATE KEY").encode()


def _point() -> Any:
    from cryptography.hazmat.primitives.serialization import PublicFormat  # noqa: PLC0415

    return PublicFormat.UncompressedPoint


@pytest.mark.spec("17.11-f")
@ways
def test_whoever_has_the_genuine_certificate_but_not_its_key_gets_nothing(way: Any) -> None:
    context = load(server_context(), HONEST.certificate(), stolen_without_key())
    with serving(context) as served:
        with pytest.raises(ssl.SSLError) as caught:
            way(served, client())
        assert served.received == []
    # Not our verdict: the handshake itself fails at the signature over it.
    assert not isinstance(caught.value, EvidenceError)


@pytest.mark.spec("17.11-b")
def test_a_session_cannot_be_resumed() -> None:
    """Even with a server that gives tickets and a client that tries."""
    tickets = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tickets.minimum_version = ssl.TLSVersion.TLSv1_3
    load(tickets, HONEST.certificate(), key_pem(HONEST.key))
    context = client()
    context.options &= ~ssl.OP_NO_TICKET
    with serving(tickets) as served:
        with (
            socket.create_connection(("127.0.0.1", served.port), timeout=5) as raw,
            context.wrap_socket(raw) as tls,
        ):
            tls.sendall(REQUEST)
            tls.recv(65536)
            session = tls.session
        assert session is not None
        before = list(served.received)
        with (
            socket.create_connection(("127.0.0.1", served.port), timeout=5) as raw,
            pytest.raises(EvidenceError, match="resumed"),
        ):
            context.wrap_socket(raw, session=session)
        assert served.received == before


@pytest.mark.spec("17.11-f")
def test_a_write_before_the_handshake_does_not_shake_hands_by_itself() -> None:
    with serving(context_of(replace(HONEST, image=world.IMAGE))) as served:
        for write in ("send", "write", "sendall"):
            with (
                socket.create_connection(("127.0.0.1", served.port), timeout=5) as raw,
                client().wrap_socket(raw, do_handshake_on_connect=False) as tls,
                pytest.raises(EvidenceError, match="not verified"),
            ):
                getattr(tls, write)(REQUEST)
        outgoing = ssl.MemoryBIO()
        with pytest.raises(EvidenceError, match="not verified"):
            client().wrap_bio(ssl.MemoryBIO(), outgoing).write(REQUEST)
        assert outgoing.pending == 0
    assert served.received == []


@pytest.mark.spec("17.11-g")
def test_nothing_is_sent_on_a_connection_that_outlives_its_evidence() -> None:
    now = [NOW]
    with (
        serving(context_of()) as served,
        socket.create_connection(("127.0.0.1", served.port), timeout=5) as raw,
        client(now=lambda: now[0]).wrap_socket(raw) as tls,
    ):
        tls.sendall(REQUEST)
        tls.recv(65536)
        now[0] = NOW + 3600
        with pytest.raises(EvidenceError, match="has ended"):
            tls.sendall(REQUEST)
    assert b"".join(served.received) == REQUEST


def test_whose_connection_it_is_can_be_asked() -> None:
    with (
        serving(context_of()) as served,
        socket.create_connection(("127.0.0.1", served.port), timeout=5) as raw,
        client().wrap_socket(raw) as tls,
    ):
        verified = verified_of(tls)
    assert verified is not None
    assert verified.gateway == GATEWAY
    assert verified_of(object()) is None


def test_each_judgement_is_told_to_whoever_wants_to_know() -> None:
    seen: list[Presented] = []
    context = gateway_context(POLICY, clock=lambda: NOW, on_judged=seen.append)
    with serving(context_of()) as served:
        ask(served, context)
    assert [(one.tls_version, one.is_resumed) for one in seen] == [("TLSv1.3", False)]


def test_other_failures_of_tls_stay_what_they_are() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname(), timeout=5) as raw,
    ):
        peer, _ = listening.accept()
        peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with pytest.raises(ssl.SSLError) as caught:
            client().wrap_socket(raw)
        peer.close()
    assert refusal_of(caught.value) is None


def test_a_refusal_is_found_behind_the_errors_of_libraries() -> None:
    refusal = GatewayRefused("no")
    outer = ConnectionError("cannot connect")
    outer.__cause__ = EvidenceError(refusal)
    assert refusal_of(outer) is refusal
    assert refusal_of(ValueError()) is None


def test_an_empty_table_denies_the_honest_gateway() -> None:
    nobody = policy(gateway_table(platforms=[]))
    with serving(context_of()) as served:
        assert "platform_allowed" in refused(served, client(nobody), ask).message
