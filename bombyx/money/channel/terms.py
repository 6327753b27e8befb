"""What goes over HTTP about channels: vouchers, and the terms of a 402 (SPEC 7.6, 7.8).

The shape is that of x402's `batch-settlement`, in restricted JSON: names in lower case, amounts as
decimal strings, networks as `tvm:<global id>`. Terms are a gateway's word and nothing more. A
client takes from them where to pay and why it was refused, never how much it owes.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from bombyx import canonical
from bombyx.canonical import Document
from bombyx.errors import (
    GatewayLied,
    TermsRefused,
    VoucherExpires,
    VoucherForeign,
    VoucherForged,
)
from bombyx.money.channel.identity import (
    CHANNEL_CODE,
    MAX_CHALLENGE_S,
    MIN_CHALLENGE_S,
    Channel,
)
from bombyx.money.voucher import is_strong_key
from bombyx.units import Count, Hex32, Hex64, NanoText

MAX_OFFERS = 4
"""Ways to pay in one 402: one of today, and room for others."""
MAX_TERMS_BYTES = 8192
"""What a client reads of a 402's terms; they also fit a header."""
SCHEME = "batch-settlement"
NetworkText = Annotated[str, Meta(min_length=5, max_length=15, pattern=r"\Atvm:-?[1-9][0-9]*\Z")]
Word = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"\A[a-z0-9_-]+\Z")]


def network_text(network: int) -> str:
    """How documents name a network, by its global id."""
    return f"tvm:{network}"


class Voucher(Document, frozen=True):
    """A ceiling as its signer sends it. `seqno` is only signed; `valid_until` is absent or 0."""

    v: Literal["bombyx-voucher/1"]
    network: NetworkText
    channel: Hex32
    amount: NanoText
    signature: Hex64
    seqno: Count | UnsetType = UNSET
    valid_until: Count | UnsetType = UNSET

    def __repr__(self) -> str:
        return f"Voucher({self.network}, {self.channel}, {self.amount})"


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The highest voucher that one holds; `amount` 0 without any. Only made of checked ones."""

    amount: int = 0
    seqno: int = 0
    signature: bytes = field(default=b"", repr=False)


NO_CEILING = Ceiling()


def voucher_of(channel: Channel, ceiling: Ceiling) -> Voucher:
    """The document of a voucher."""
    return Voucher(
        v="bombyx-voucher/1",
        network=network_text(channel.network),
        channel=channel.account.hex(),
        amount=str(ceiling.amount),
        signature=ceiling.signature.hex(),
        seqno=ceiling.seqno or UNSET,
    )


def check_offered(voucher: Voucher, channel: Channel) -> Ceiling:
    """A voucher as the gateway may keep it, and the contract will take it (SPEC 7.6).

    Raises `VoucherForeign`, `VoucherExpires`, `VoucherForged`.
    """
    if (voucher.network, voucher.channel) != (network_text(channel.network), channel.account.hex()):
        raise VoucherForeign("the voucher is of another network or channel")
    if voucher.valid_until:
        raise VoucherExpires("a voucher must be good for ever")
    amount, signature = int(voucher.amount), bytes.fromhex(voucher.signature)
    seqno = voucher.seqno or 0
    channel.check_payer_signed(amount, signature, seqno=seqno)
    return Ceiling(amount, seqno, signature)


class Books(Document, frozen=True):
    """A channel as its gateway sees it, and so why it refused.

    `signature` is the client's own, over `ceiling` and `seqno`; absent where the gateway has none.
    """

    channel: Hex32
    deposited: NanoText
    charged: NanoText
    reserved: NanoText
    need: NanoText
    ceiling: NanoText
    signature: Hex64 | UnsetType = UNSET
    seqno: Count | UnsetType = UNSET

    def __repr__(self) -> str:
        return f"Books({self.channel}, need {self.need})"


class Offer(Document, frozen=True):
    """One way to pay: a channel of this code to this gateway. `amount` is this request's reserve.

    `pay_to` is the gateway's account, `min_deposit` what a new channel must hold at least.
    """

    scheme: Word
    network: NetworkText
    asset: Word
    amount: NanoText
    pay_to: Hex32
    gateway_key: Hex32
    code: Hex32
    min_challenge_s: Count
    min_deposit: NanoText
    books: Books | UnsetType = UNSET


class PaymentTerms(Document, frozen=True):
    """The terms of a 402; `error` is the code of the refusal."""

    v: Literal["bombyx-402/1"]
    error: Word
    accepts: Annotated[list[Offer], Meta(min_length=1, max_length=MAX_OFFERS)]


def encode_terms(terms: PaymentTerms) -> bytes:
    """Canonical bytes."""
    return canonical.encode(terms)


def decode_terms(data: bytes) -> PaymentTerms:
    """Read terms; raises `TermsRefused` for what is too long and `NotCanonical` for other bytes."""
    if len(data) > MAX_TERMS_BYTES:
        raise TermsRefused("the terms are too long")
    return canonical.decode(data, PaymentTerms)


@dataclass(frozen=True, slots=True)
class NewChannel:
    """What is needed to open a channel, after the client's checks."""

    network: int
    gateway: bytes
    gateway_key: bytes
    min_challenge_s: int
    min_deposit: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a gateway says of our channel, as far as it is not refuted.

    Numbers are its word only, but for `ceiling`: we signed it.
    """

    error: str
    deposited: int
    charged: int
    reserved: int
    need: int
    ceiling: int


def _ours(terms: PaymentTerms, network: int) -> Offer:
    for offer in terms.accepts:
        known = (offer.scheme, offer.asset, offer.network)
        if known == (SCHEME, "native", network_text(network)):
            return offer
    raise TermsRefused("the gateway takes no payment that this client can make")


def check_new_channel(
    terms: PaymentTerms, *, network: int, gateways: frozenset[bytes], max_deposit: int
) -> NewChannel:
    """What a client may open because of these terms (SPEC 7.8); raises `TermsRefused`.

    `gateways` are the channel keys that policy or registry name: nobody else is paid. The account
    that is paid is the gateway's to choose, since it loses what goes astray.
    """
    offer = _ours(terms, network)
    if offer.code != CHANNEL_CODE.digest.hex():
        raise TermsRefused("the gateway wants a contract that this client does not know")
    key = bytes.fromhex(offer.gateway_key)
    if key not in gateways or not is_strong_key(key):
        raise TermsRefused("nobody vouches for the key of this gateway")
    if offer.min_challenge_s > MAX_CHALLENGE_S:
        raise TermsRefused("the gateway wants a longer challenge period than any channel has")
    if int(offer.min_deposit) > max_deposit:
        raise TermsRefused("the gateway wants a larger deposit than its owner allows")
    period = max(offer.min_challenge_s, MIN_CHALLENGE_S)
    deposit = int(offer.min_deposit)
    return NewChannel(network, bytes.fromhex(offer.pay_to), key, period, deposit)


def check_refusal(terms: PaymentTerms, channel: Channel, *, cost: int) -> Claimed:
    """What a 402 says of our own channel (SPEC 7.8). Nothing of it raises what we sign.

    `cost` is the request's `max_cost_nano`. Raises `TermsRefused` for terms of another channel or
    request or that contradict themselves, `GatewayLied` for a ceiling that we did not sign.
    """
    offer = _ours(terms, channel.network)
    books, config = offer.books, channel.config
    if not isinstance(books, Books) or books.channel != channel.account.hex():
        raise TermsRefused("the terms are not of this channel")
    if (offer.pay_to, offer.gateway_key) != (config.gateway.hex(), config.gateway_key.hex()):
        raise TermsRefused("the terms name another gateway than the channel")
    said = Claimed(
        error=terms.error,
        deposited=int(books.deposited),
        charged=int(books.charged),
        reserved=int(books.reserved),
        need=int(books.need),
        ceiling=int(books.ceiling),
    )
    if said.need != said.charged + said.reserved + cost or int(offer.amount) != cost:
        raise TermsRefused("the terms are not of this request")
    _check_ceiling(books, said.ceiling, channel)
    return said


def _check_ceiling(books: Books, ceiling: int, channel: Channel) -> None:
    """The number comes with our own signature, else it is invented."""
    if not isinstance(books.signature, str):
        if ceiling:
            raise GatewayLied("the gateway shows no signature for the ceiling that it names")
        return
    try:
        signature = bytes.fromhex(books.signature)
        channel.check_payer_signed(ceiling, signature, seqno=books.seqno or 0)
    except VoucherForged:
        raise GatewayLied("the gateway shows a ceiling that this client never signed") from None
