"""A client, a gateway and a channel between them, for the tests of this folder."""

import hashlib
from typing import Any

from msgspec import UNSET

from bombyx.money.channel.acceptance import ChannelRow, need
from bombyx.money.channel.closing import ChannelSigner
from bombyx.money.channel.identity import CHANNEL_CODE, Channel, ChannelConfig
from bombyx.money.channel.spending import Caps
from bombyx.money.channel.terms import (
    SCHEME,
    Books,
    Ceiling,
    Offer,
    PaymentTerms,
    Voucher,
    network_text,
)
from bombyx.money.statement import Statement, Status
from bombyx.money.voucher import VoucherSigner
from tests import factories
from tests.factories import seed

NETWORK = -239
CLIENT = ChannelSigner(seed("session key"))
GATEWAY = ChannelSigner(seed("gateway channel key"))
STRANGER = VoucherSigner(seed("stranger"))
PAYEE = hashlib.sha256(b"gateway wallet").digest()
PAYER = factories.PAYER.public_hex
IDENTITY = factories.GATEWAY.public_hex
CAPS = Caps(max_inflight=1_000, max_daily=100_000, max_deposit=50_000, min_top_up=100)
NOW = 1_000_000
DEADLINE = NOW + 1_500
OF_WORKER = factories.worker("worker")


def config(**fields: Any) -> ChannelConfig:
    values: dict[str, Any] = {
        "client": hashlib.sha256(b"client wallet").digest(),
        "gateway": PAYEE,
        "client_key": CLIENT.public_key,
        "gateway_key": GATEWAY.public_key,
        "challenge_period": 3_600,
        "salt": 7,
    }
    return ChannelConfig(**values | fields)


CHANNEL = Channel(NETWORK, config())


def ceiling(amount: int, seqno: int = 0, signer: VoucherSigner = CLIENT) -> Ceiling:
    return Ceiling(amount, seqno, signer.sign(CHANNEL.template, amount, seqno=seqno))


def document(amount: int, signer: VoucherSigner = CLIENT, **fields: Any) -> Voucher:
    signed = signer.sign(
        CHANNEL.template,
        amount,
        seqno=fields.get("seqno", 0),
        valid_until=fields.get("valid_until", 0),
    )
    values: dict[str, Any] = {
        "v": "bombyx-voucher/1",
        "network": network_text(NETWORK),
        "channel": CHANNEL.account.hex(),
        "amount": str(amount),
        "signature": signed.hex(),
    }
    return Voucher(**values | fields)


def books(row: ChannelRow, cost: int, **fields: Any) -> Books:
    held = row.ceiling
    values: dict[str, Any] = {
        "channel": CHANNEL.account.hex(),
        "deposited": str(row.deposited),
        "charged": str(row.charged),
        "reserved": str(row.reserved),
        "need": str(need(row, cost)),
        "ceiling": str(held.amount),
        "signature": held.signature.hex() if held.signature else UNSET,
        "seqno": held.seqno or UNSET,
    }
    return Books(**values | fields)


def offer(cost: int, **fields: Any) -> Offer:
    values: dict[str, Any] = {
        "scheme": SCHEME,
        "network": network_text(NETWORK),
        "asset": "native",
        "amount": str(cost),
        "pay_to": PAYEE.hex(),
        "gateway_key": GATEWAY.public_key.hex(),
        "code": CHANNEL_CODE.digest.hex(),
        "min_challenge_s": 3_600,
        "min_deposit": "10000",
    }
    return Offer(**values | fields)


def terms(row: ChannelRow, cost: int, error: str = "voucher_required", **said: Any) -> PaymentTerms:
    told = offer(cost, books=books(row, cost, **said))
    return PaymentTerms(v="bombyx-402/1", error=error, accepts=[told])


def receipt(c: bytes, charge: int, **fields: Any) -> Statement:
    """A statement that nobody signed: its signature is checked elsewhere."""
    values = {"c": c.hex(), "charge_nano": str(charge), "status": Status.FINAL} | fields
    return factories.statement(OF_WORKER, **values)
