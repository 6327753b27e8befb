"""One frame of each type of the link, and messages as they are put together (SPEC 10)."""

from typing import Any

import msgspec
from msgspec import UNSET

from bombyx import canonical
from bombyx.envelope.keys import WRAP_BYTES
from bombyx.link.documents import (
    Ack,
    Disposition,
    Goaway,
    Lost,
    SessionStart,
    Settle,
    WorkerStatus,
)
from bombyx.link.frames import MORE, LinkType, encode_link_frame
from bombyx.link.hello import Hello, Identify, Welcome, challenge, worker_terms
from bombyx.money.batch import leaf_hash
from bombyx.money.channel.closing import ChannelSigner
from bombyx.money.channel.identity import PAYOUT_CHALLENGE_S, Channel, ChannelConfig
from bombyx.money.channel.payout_documents import nobodys_key, payout_channel_of
from bombyx.money.channel.terms import Ceiling, Voucher, voucher_of
from bombyx.signing import Kind
from tests import factories
from tests.factories import GATEWAY, NOW, hex_of, seed, worker

STREAM = 7
_CUT = 20
"""Where the document that spans two frames is cut; real ones are cut at 24 KiB."""


PAYS = ChannelSigner(seed("gateway channel key"))
PAYEE = bytes.fromhex(hex_of("owner's wallet"))
PAYOUT = Channel(
    -3,
    ChannelConfig(
        client=bytes.fromhex(hex_of("gateway wallet")),
        gateway=PAYEE,
        client_key=PAYS.public_key,
        gateway_key=nobodys_key(PAYEE),
        challenge_period=PAYOUT_CHALLENGE_S,
        salt=7,
    ),
)


def _voucher(amount: int) -> Voucher:
    return voucher_of(PAYOUT, Ceiling(amount, 0, PAYS.sign(PAYOUT.template, amount)))


def paid() -> dict[str, Any]:
    """The optional members of `identify` and `ack`, and what a worker signs then (SPEC 8, 10.3)."""
    told, of = documents(), worker("a")
    key = nobodys_key(PAYEE).hex()
    terms = worker_terms(
        told[LinkType.HELLO], told[LinkType.CHALLENGE], worker=of.id, at=NOW, payout_key=key
    )
    identify = msgspec.structs.replace(
        told[LinkType.IDENTIFY],
        signature=of.link.sign(Kind.LINK_WORKER, terms).hex(),
        payout_key=key,
        voucher=_voucher(60_000_000),
        payout_channel=payout_channel_of(PAYOUT),
    )
    ack = Ack(
        dispositions=[],
        voucher=_voucher(61_000_000),
        payout_channel=payout_channel_of(PAYOUT),
    )
    return {
        "payout": {"account": PAYEE.hex(), "nobodys_key": key},
        "worker_terms": canonical.encode(terms).decode(),
        "identify": canonical.encode(identify).decode(),
        "ack": canonical.encode(ack).decode(),
    }


def documents() -> dict[LinkType, Any]:
    """A document for each type of frame that carries one."""
    of = worker("a")
    hello = Hello(v="bombyx-link/1", nonce=hex_of("nonce w"))
    url = "wss://gateway.example/v1/link"
    offered = challenge(hello, GATEWAY, url=url, nonce=hex_of("nonce g"), slot=1, epoch=2)
    terms = worker_terms(hello, offered, worker=of.id, at=NOW)
    offer = factories.signed_offer(of)
    receipt = factories.receipt(of)
    lost = Lost(gateway=GATEWAY.public_hex, c=hex_of("c"), at=NOW * 1000)
    return {
        LinkType.HELLO: hello,
        LinkType.CHALLENGE: offered,
        LinkType.IDENTIFY: Identify(
            keyset=canonical.encode(of.keyset).decode(),
            evidence='{"gpus":[],"platform":"simulated","quote":"AA=="}',
            offers=[canonical.encode(offer).decode()],
            at=NOW,
            signature=of.link.sign(Kind.LINK_WORKER, terms).hex(),
            collateral=UNSET,
        ),
        LinkType.WELCOME: Welcome(fee_bps=factories.FEE_BPS, deadline_s=1500),
        LinkType.REFUSAL: factories.refusal(of),
        LinkType.STATEMENT: receipt,
        LinkType.SETTLE: Settle(
            leaves=[leaf_hash(canonical.encode(receipt.statement)).hex()],
            batch=receipt.batch,
            signature=of.receipt.sign(Kind.SETTLE, receipt.batch).hex(),
        ),
        LinkType.ACK: Ack(
            dispositions=[
                Disposition(statement=hex_of("s"), disposition="billed"),
                Disposition(statement=hex_of("s"), disposition="expired"),
                Disposition(statement=hex_of("s"), disposition="invalid", code="arithmetic"),
                Disposition(statement=hex_of("s"), disposition="superseded", winner=receipt),
                Disposition(
                    statement=hex_of("s"),
                    disposition="superseded",
                    lost=lost,
                    lost_signature=GATEWAY.sign(Kind.LOST, lost).hex(),
                ),
            ]
        ),
        LinkType.STATUS: WorkerStatus(model=factories.MODEL, running=1, waiting=2, slots=8),
        LinkType.OFFER: offer,
        LinkType.SESSION: SessionStart(
            session=hex_of("session id", 16), key_id=of.key_id, wrapped="ab" * WRAP_BYTES
        ),
        LinkType.GOAWAY: Goaway(code="draining", message="come back later", retry=True),
    }


_PAYLOADS = {
    LinkType.DATA: seed("sealed", 40),
    LinkType.CREDIT: (131072).to_bytes(4),
    LinkType.RESET: b"client_left",
    LinkType.PING: seed("ping", 8),
    LinkType.PONG: seed("ping", 8),
    LinkType.END: b"",
}
_ON_STREAMS = frozenset(
    {LinkType.DATA, LinkType.CREDIT, LinkType.RESET, LinkType.REFUSAL, LinkType.END}
)


def frames() -> dict[str, Any]:
    """`frames`: each type with stream, payload and bytes; `messages`: frames put together."""
    payloads = {kind: canonical.encode(one) for kind, one in documents().items()} | _PAYLOADS
    listed = [_frame(kind, payloads[kind]) for kind in sorted(payloads)]
    several = [LinkType.DATA, LinkType.PING, LinkType.END]
    ack = payloads[LinkType.ACK]
    halves = [
        encode_link_frame(LinkType.ACK | MORE, 0, ack[:_CUT]),
        encode_link_frame(LinkType.PING, 0, payloads[LinkType.PING]),
        encode_link_frame(LinkType.ACK, 0, ack[_CUT:]),
    ]
    return {
        "frames": listed,
        "paid": paid(),
        "messages": [
            {
                "says": "three frames, of a stream and of the link",
                "message": "".join(_frame(kind, payloads[kind])["frame"] for kind in several),
                "types": [int(kind) for kind in several],
            },
            {
                "says": "a document in two frames, another one between them",
                "message": b"".join(halves).hex(),
                "types": [int(LinkType.PING), int(LinkType.ACK)],
                "last_payload": ack.decode(),
            },
        ],
    }


def _frame(kind: LinkType, payload: bytes) -> dict[str, Any]:
    stream = STREAM if kind in _ON_STREAMS else 0
    return {
        "type": int(kind),
        "name": kind.name.lower(),
        "stream": stream,
        "payload": payload.hex(),
        "frame": encode_link_frame(kind, stream, payload).hex(),
    }
