"""What goes over HTTP about a channel itself: registration, state, end (SPEC 7.10).

A view is its gateway's word: a client takes from it when to wait and when to top up. What it owes
it proves itself, and what lies in the contract it reads from the chain.
"""

from typing import Annotated, Literal

from msgspec import Meta

from bombyx import canonical
from bombyx.canonical import Document
from bombyx.errors import ChannelAddressWrong, CloseTermsRefused
from bombyx.money.channel.acceptance import ChannelRow
from bombyx.money.channel.closing import CloseTerms, check_close_signature
from bombyx.money.channel.identity import Channel, ChannelConfig
from bombyx.money.channel.terms import NetworkText, network_text
from bombyx.money.voucher import VoucherSigner
from bombyx.units import DECIMAL, Count, Hex32, Hex64, NanoText

MAX_REGISTRATION_BYTES = 2_048
"""About twice what one needs."""
SaltText = Annotated[str, Meta(min_length=1, max_length=20, extra={"form": DECIMAL})]
"""Up to 2^64 - 1, which is more than JavaScript's numbers hold."""
Period = Annotated[int, Meta(ge=0, lt=2**32)]
State = Literal["open", "closing", "closed", "halted"]


class Registration(Document, frozen=True):
    """`POST /v1/channels`: what a channel is, so that its address can be recomputed.

    `proof` is a voucher's signature over the amount 0: it shows who holds the client's key, and
    there is nothing to claim with it. Without it a stranger could register what he saw on chain.
    """

    v: Literal["bombyx-channel/1"]
    network: NetworkText
    channel: Hex32
    client: Hex32
    gateway: Hex32
    client_key: Hex32
    gateway_key: Hex32
    challenge_period: Period
    salt: SaltText
    proof: Hex64

    def __repr__(self) -> str:
        return f"Registration({self.network}, {self.channel})"


def registration_of(channel: Channel, signer: VoucherSigner) -> Registration:
    """The document of a channel of ours; `signer` holds its client's key."""
    config = channel.config
    return Registration(
        v="bombyx-channel/1",
        network=network_text(channel.network),
        channel=channel.account.hex(),
        client=config.client.hex(),
        gateway=config.gateway.hex(),
        client_key=config.client_key.hex(),
        gateway_key=config.gateway_key.hex(),
        challenge_period=config.challenge_period,
        salt=str(config.salt),
        proof=signer.sign(channel.template, 0).hex(),
    )


def config_of(registration: Registration) -> ChannelConfig:
    """Its configuration; raises `ChannelAddressWrong` for one that no channel has."""
    try:
        return ChannelConfig(
            client=bytes.fromhex(registration.client),
            gateway=bytes.fromhex(registration.gateway),
            client_key=bytes.fromhex(registration.client_key),
            gateway_key=bytes.fromhex(registration.gateway_key),
            challenge_period=registration.challenge_period,
            salt=int(registration.salt),
        )
    except ValueError:
        raise ChannelAddressWrong("no channel has such a configuration") from None


def check_proof(registration: Registration, channel: Channel) -> None:
    """Whoever registers holds the client's key; raises `VoucherForged`."""
    channel.check_payer_signed(0, bytes.fromhex(registration.proof))


def encode_registration(registration: Registration) -> bytes:
    """Canonical bytes."""
    return canonical.encode(registration)


class ChannelView(Document, frozen=True):
    """A channel as its gateway's books have it; `close_at` and `terms_until` are unix s or 0.

    `charged` is what was settled, `reserved` what may still come of requests that run, `claimed`
    what the chain has paid.
    """

    channel: Hex32
    network: NetworkText
    state: State
    deposited_nano: NanoText
    charged_nano: NanoText
    reserved_nano: NanoText
    ceiling_nano: NanoText
    claimed_nano: NanoText
    close_at: Count
    terms_until: Count


class ChannelList(Document, frozen=True):
    """`GET /v1/channels`: the account's channels, the newest first."""

    object: Literal["list"]
    data: list[ChannelView]


def view_of(network: int, account: bytes, row: ChannelRow) -> ChannelView:
    """The document of a row."""
    return ChannelView(
        channel=account.hex(),
        network=network_text(network),
        state=state_of(row),
        deposited_nano=str(row.deposited),
        charged_nano=str(row.charged),
        reserved_nano=str(row.reserved),
        ceiling_nano=str(row.ceiling.amount),
        claimed_nano=str(row.claimed),
        close_at=row.close_at,
        terms_until=row.terms_until,
    )


def state_of(row: ChannelRow) -> State:
    """One word: what is final comes first, then what waits for a person."""
    if row.closed:
        return "closed"
    if row.halted:
        return "halted"
    return "closing" if row.closing else "open"


class CloseAnswer(Document, frozen=True):
    """`POST /v1/channels/{channel}/close`: terms that the gateway has signed (SPEC 9.2)."""

    amount_nano: NanoText
    valid_until: Count
    gateway_signature: Hex64

    def __repr__(self) -> str:
        return f"CloseAnswer({self.amount_nano}, until {self.valid_until})"


def check_close_answer(channel: Channel, answer: CloseAnswer) -> tuple[CloseTerms, bytes]:
    """The terms and the gateway's signature, which verifies; raises `CloseTermsRefused`.

    Whether the client may sign them too is `closing.check_client_terms`'s to say.
    """
    if answer.valid_until >= 1 << 32:
        raise CloseTermsRefused("no close terms are good for so long")
    terms = CloseTerms(int(answer.amount_nano), answer.valid_until)
    signature, key = bytes.fromhex(answer.gateway_signature), channel.config.gateway_key
    check_close_signature(channel, terms, signature=signature, key=key)
    return terms, signature
