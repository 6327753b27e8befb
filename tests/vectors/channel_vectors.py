"""Payment channels for other implementations: addresses, cells, terms, decisions (SPEC 7, 9).

Decisions are cases of the gateway's rule: a row, a request's reserve, maybe a voucher, and what
becomes of the row or by which code the request is refused.
"""

from dataclasses import replace
from typing import Any

from bombyx import canonical
from bombyx.errors import BombyxError
from bombyx.money.channel import acceptance, closing, identity, terms
from bombyx.money.channel.acceptance import ChannelRow
from bombyx.money.channel.closing import ChannelSigner, CloseTerms
from bombyx.money.channel.identity import CHANNEL_CODE, Channel, ChannelConfig
from bombyx.money.channel.terms import Ceiling, Offer, PaymentTerms, Voucher
from tests.factories import NOW, hex_of, seed

NETWORK = -239
CLIENT = ChannelSigner(seed("session"))
GATEWAY = ChannelSigner(seed("gateway channel"))
STRANGER = ChannelSigner(seed("stranger"))
CONFIG = ChannelConfig(
    client=seed("client account"),
    gateway=seed("gateway account"),
    client_key=CLIENT.public_key,
    gateway_key=GATEWAY.public_key,
    challenge_period=86_400,
    salt=0x0123456789ABCDEF,
)
CHANNEL = Channel(NETWORK, CONFIG)
AMOUNTS = (0, 1, 255, 256, 10**9, 10**18 - 1)
Section = dict[str, Any]


def ceiling(amount: int, seqno: int = 0, signer: ChannelSigner = CLIENT) -> Ceiling:
    return Ceiling(amount, seqno, signer.sign(CHANNEL.template, amount, seqno=seqno))


def voucher(amount: int, **changes: Any) -> Voucher:
    made = terms.voucher_of(CHANNEL, ceiling(amount))
    fields = {name: getattr(made, name) for name in made.__struct_fields__}
    return Voucher(**fields | changes)


def section() -> Section:
    """All of `channel.json`."""
    return {
        "code_hash": CHANNEL_CODE.digest.hex(),
        "code_depth": CHANNEL_CODE.depth,
        "network": NETWORK,
        "client_seed": hex_of("session"),
        "gateway_seed": hex_of("gateway channel"),
        "config": {
            "client": CONFIG.client.hex(),
            "gateway": CONFIG.gateway.hex(),
            "client_key": CONFIG.client_key.hex(),
            "gateway_key": CONFIG.gateway_key.hex(),
            "challenge_period": CONFIG.challenge_period,
            "salt": str(CONFIG.salt),
        },
        "account": CHANNEL.account.hex(),
        "vouchers": [_voucher(amount, seqno) for amount in AMOUNTS for seqno in (0, 7)],
        "close_terms": [_close(amount) for amount in AMOUNTS],
        "voucher_cases": list(_voucher_cases()),
        "terms": _terms(),
        "reserve_cases": list(_reserve_cases()),
        "admit_cases": list(_admit_cases()),
    }


def _voucher(amount: int, seqno: int) -> Section:
    made = terms.voucher_of(CHANNEL, ceiling(amount, seqno))
    return {
        "amount": str(amount),
        "seqno": seqno,
        "digest": CHANNEL.template.digest(amount, seqno=seqno).hex(),
        "document": canonical.encode(made).decode(),
    }


def _close(amount: int) -> Section:
    agreed = CloseTerms(amount, NOW)
    return {
        "amount": str(amount),
        "valid_until": NOW,
        "digest": closing.close_digest(CHANNEL, amount, valid_until=NOW).hex(),
        "client_signature": CLIENT.sign_close(CHANNEL, agreed).hex(),
        "gateway_signature": GATEWAY.sign_close(CHANNEL, agreed).hex(),
    }


def _code_of(error: BombyxError | None) -> str:
    return "accepted" if error is None else error.code


def _voucher_cases() -> Any:
    expiring = CLIENT.sign(CHANNEL.template, 5, valid_until=NOW).hex()
    foreign = Channel(-3, CONFIG)
    other = Channel(NETWORK, replace(CONFIG, salt=1))
    for case, document in (
        ("good", voucher(5)),
        ("another network, signed for it", terms.voucher_of(foreign, _of(foreign))),
        ("another network's signature", voucher(5, signature=_of(foreign).signature.hex())),
        ("another channel, signed for it", terms.voucher_of(other, _of(other))),
        ("another channel's signature", voucher(5, signature=_of(other).signature.hex())),
        ("it expires", voucher(5, valid_until=NOW, signature=expiring)),
        ("another key", voucher(5, signature=ceiling(5, signer=STRANGER).signature.hex())),
        ("another amount", voucher(6, signature=ceiling(5).signature.hex())),
        ("another seqno", voucher(5, seqno=1)),
        ("zeros", voucher(5, signature="00" * 64)),
    ):
        try:
            terms.check_offered(document, CHANNEL)
        except BombyxError as error:
            result = _code_of(error)
        else:
            result = _code_of(None)
        yield {"case": case, "document": canonical.encode(document).decode(), "result": result}


def _of(channel: Channel) -> Ceiling:
    return Ceiling(5, 0, CLIENT.sign(channel.template, 5))


def _terms() -> Section:
    row = ChannelRow(deposited=10_000, charged=700, reserved=200, ceiling=ceiling(1_000))
    offer = Offer(
        scheme=terms.SCHEME,
        network=terms.network_text(NETWORK),
        asset="native",
        amount="300",
        pay_to=CONFIG.gateway.hex(),
        gateway_key=CONFIG.gateway_key.hex(),
        code=CHANNEL_CODE.digest.hex(),
        min_challenge_s=3_600,
        min_deposit="10000",
    )
    books = terms.Books(
        channel=CHANNEL.account.hex(),
        deposited=str(row.deposited),
        charged=str(row.charged),
        reserved=str(row.reserved),
        need=str(acceptance.need(row, 300)),
        ceiling=str(row.ceiling.amount),
        signature=row.ceiling.signature.hex(),
    )
    refusing = Offer(**{n: getattr(offer, n) for n in offer.__struct_fields__} | {"books": books})
    return {
        name: terms.encode_terms(
            PaymentTerms(v="bombyx-402/1", error=error, accepts=[one])
        ).decode()
        for name, error, one in (
            ("no_channel", "payment_required", offer),
            ("voucher_required", "voucher_required", refusing),
        )
    }


def _reserve_cases() -> Any:
    row = ChannelRow(deposited=1_000, charged=100, reserved=50, ceiling=ceiling(400))
    for case, held, cost, offered in (
        ("within the ceiling", row, 250, None),
        ("one above the ceiling", row, 251, None),
        ("a voucher that is enough", row, 251, 401),
        ("a voucher that is not", row, 252, 401),
        ("a lower voucher is no error", row, 250, 10),
        ("a voucher above the deposit", row, 850, 9_999),
        ("one above the deposit", row, 851, 9_999),
        ("closing", acceptance.close_asked(row), 1, None),
        ("closing on chain", acceptance.close_started(row, NOW), 1, None),
        ("closed", acceptance.closed(row), 1, None),
        ("old books", acceptance.rolled_back(row, 101), 1, None),
    ):
        signed = None if offered is None else ceiling(offered)
        yield {"case": case, "row": _row(held), "cost": cost, "voucher": offered} | _after(
            held, cost, signed
        )


def _after(held: ChannelRow, cost: int, offered: Ceiling | None) -> Section:
    try:
        after = acceptance.reserve(held, cost, offered=offered)
    except BombyxError as error:
        return {"result": _code_of(error)}
    return {"result": _code_of(None), "after": _row(after)}


def _row(row: ChannelRow) -> Section:
    return {
        "deposited": row.deposited,
        "charged": row.charged,
        "reserved": row.reserved,
        "ceiling": row.ceiling.amount,
        "claimed": row.claimed,
        "closing": row.closing,
        "closed": row.closed,
        "halted": row.halted,
    }


def _admit_cases() -> Any:
    """Changes of the configuration above, and what its payee says to them."""
    for case, changes in (
        ("good", {}),
        ("pays another account", {"gateway": bytes(32)}),
        ("another gateway's key", {"gateway_key": STRANGER.public_key}),
        ("too short a period", {"challenge_period": 3_599}),
        ("too long a period", {"challenge_period": 604_801}),
        ("a client's key of small order", {"client_key": b"\x01" + bytes(31)}),
    ):
        changed = replace(CONFIG, **changes)
        account = changed.account()
        try:
            identity.admit(
                NETWORK, changed, account, payee=CONFIG.gateway, payee_key=CONFIG.gateway_key
            )
        except BombyxError as error:
            result = _code_of(error)
        else:
            result = _code_of(None)
        shown = {
            name: value.hex() if isinstance(value, bytes) else value
            for name, value in changes.items()
        }
        yield {"case": case, "changes": shown, "account": account.hex(), "result": result}
