"""A cheating client that pays by channel: wants more served than it signed or deposited (SPEC 7).

Against the rules themselves, which the gateway's books apply in the transaction of each claim.
"""

import hashlib
from dataclasses import replace

from msgspec.structs import replace as altered

from bombyx.attack.defence import Defence
from bombyx.attack.means.parties import (
    COST,
    DEPOSIT,
    NETWORK,
    OTHER_NETWORK,
    Parties,
    signer,
    tried,
)
from bombyx.attack.means.simulator import unix
from bombyx.attack.record import Role, Seen, judged, played
from bombyx.errors import BombyxError
from bombyx.money.channel.acceptance import (
    ChannelRow,
    reserve,
    settle,
)
from bombyx.money.channel.closing import CloseTerms
from bombyx.money.channel.documents import check_proof, registration_of
from bombyx.money.channel.identity import Channel, ChannelConfig, Code, admit
from bombyx.money.channel.terms import Voucher, check_offered, network_text

MANY = 40
_SMALL_ORDER = bytes((1, *bytes(31)))
"""The neutral point: one signature under it is good for any voucher."""


def _kept(parties: Parties, voucher: Voucher, *, got: str) -> Seen:
    """Whether the gateway keeps a voucher, beside the honest one over as much."""
    channel = parties.channel
    return tried(
        lambda: check_offered(parties.voucher(COST), channel),
        lambda: check_offered(voucher, channel),
        got=got,
    )


@played(Role.CLIENT, Defence.VOUCHER, "voucher_forged: not signed by the channel's client")
def voucher_signed_by_another() -> Seen:
    """Signs a voucher by a key of its own, on the channel of somebody else."""
    parties = Parties()
    return _kept(parties, parties.voucher(COST, by=signer()), got="taken for the client's")


@played(Role.CLIENT, Defence.VOUCHER, "voucher_forged: another amount was signed")
def voucher_amount_altered() -> Seen:
    """Raises the amount of a voucher after it was signed."""
    parties = Parties()
    raised = altered(parties.voucher(COST), amount=str(DEPOSIT))
    return _kept(parties, raised, got="the amount was taken")


@played(Role.CLIENT, Defence.VOUCHER, "voucher_foreign: of another channel")
def voucher_of_another_channel() -> Seen:
    """Pays with a voucher of another channel of its own, that the chain would refuse here."""
    parties = Parties()
    other = replace(parties, salt=parties.salt ^ 1)
    return _kept(parties, other.voucher(DEPOSIT), got="a voucher of another channel was taken")


@played(Role.CLIENT, Defence.VOUCHER, "voucher_forged: the signature is of another channel")
def voucher_renamed_to_this_channel() -> Seen:
    """Writes this channel's name on a voucher that was signed for another one."""
    parties = Parties()
    other = replace(parties, salt=parties.salt ^ 1)
    renamed = altered(other.voucher(DEPOSIT), channel=parties.channel.account.hex())
    return _kept(parties, renamed, got="a voucher of another channel was taken")


@played(Role.CLIENT, Defence.VOUCHER, "voucher_forged: the signature is of another network")
def voucher_of_a_test_network() -> Seen:
    """Pays on one network with a voucher of the same channel on another, where money is free."""
    parties = Parties()
    other = Channel(OTHER_NETWORK, parties.config())
    signature = parties.client.sign(other.template, DEPOSIT).hex()
    foreign = parties.voucher(DEPOSIT, signature=signature)
    return _kept(parties, foreign, got="a voucher of another network was taken")


@played(Role.CLIENT, Defence.VOUCHER, "voucher_foreign: it names another network")
def voucher_that_names_another_network() -> Seen:
    """The same, with that network's name left on it."""
    parties = Parties()
    named = parties.voucher(DEPOSIT, network=network_text(OTHER_NETWORK))
    return _kept(parties, named, got="a voucher of another network was taken")


@played(Role.CLIENT, Defence.VOUCHER, "voucher_expires: it must be good for ever")
def voucher_that_expires() -> Seen:
    """Signs a voucher that is good for a minute, so that it is void when it is claimed."""
    parties = Parties()
    passing = parties.voucher(DEPOSIT, valid_until=unix() + 60)
    return _kept(parties, passing, got="a voucher was taken that soon is void")


@played(Role.CLIENT, Defence.VOUCHER, "voucher_forged: close terms are no voucher")
def close_terms_as_voucher() -> Seen:
    """Shows its signature over close terms as one over a voucher."""
    parties = Parties()
    signature = parties.client.sign_close(parties.channel, CloseTerms(DEPOSIT, 0))
    wrong = parties.voucher(DEPOSIT, signature=signature.hex())
    return _kept(parties, wrong, got="close terms were taken for a voucher")


# --- Running up more than there is ---


def _run_up(row: ChannelRow, parties: Parties, voucher: int) -> tuple[int, str]:
    """What a client gets reserved with one voucher, and why no more."""
    for _ in range(MANY):
        try:
            row = reserve(row, COST, offered=parties.ceiling(voucher))
        except BombyxError as error:
            return row.reserved, error.code
    return row.reserved, "never refused"


def _overrun(deposited: int, voucher: int, *, ended: int = 0) -> Seen:
    """Whether more runs than the deposit and the voucher cover, `ended` requests being settled."""
    parties = Parties()
    row = parties.row(deposited=deposited)
    for _ in range(ended):
        row = reserve(row, COST, offered=parties.ceiling(voucher))
        row = settle(row, COST, charge=COST)
    held, why = _run_up(row, parties, voucher)
    owed, most = row.charged + held, min(deposited, voucher)
    if not owed:
        raise ValueError(f"nothing is served at all: {why}")
    return judged(owed > most, f"{owed} nano are owed, {most} are covered, then {why}")


@played(Role.CLIENT, Defence.ACCEPTANCE, "deposit_too_low: the deposit does not cover it")
def voucher_above_the_deposit() -> Seen:
    """Signs a voucher of a thousand times its deposit and asks for all of that."""
    return _overrun(3 * COST, 1_000 * COST)


@played(Role.CLIENT, Defence.ACCEPTANCE, "voucher_required: requests at once count together")
def one_voucher_for_many_requests() -> Seen:
    """Sends forty requests at once with one voucher that covers three."""
    return _overrun(DEPOSIT, 3 * COST)


@played(Role.CLIENT, Defence.ACCEPTANCE, "voucher_required: what was charged stays charged")
def voucher_replayed() -> Seen:
    """Pays with the voucher that it has already spent, once its requests are settled."""
    return _overrun(DEPOSIT, 3 * COST, ended=3)


@played(Role.CLIENT, Defence.ACCEPTANCE, "the higher voucher stays")
def lower_voucher_sent_later() -> Seen:
    """Sends a lower voucher after a higher one, to have the higher one forgotten."""
    parties = Parties()
    row = reserve(parties.row(), COST, offered=parties.ceiling(10 * COST))
    row = reserve(row, COST, offered=parties.ceiling(2 * COST))
    kept = row.ceiling.amount
    return judged(kept < 10 * COST, f"the gateway holds a voucher over {kept} nano")


# --- Channels that do not pay ---


def _admitted(
    honest: Parties, network: int, config: ChannelConfig, account: bytes | None = None
) -> Seen:
    """Whether a gateway takes a channel, beside an honest one."""

    def take(config: ChannelConfig, account: bytes) -> object:
        payee, key = honest.gateway_account, honest.gateway.public_key
        return admit(network, config, account, payee=payee, payee_key=key)

    own = account if account is not None else Channel(network, config).account
    return tried(
        lambda: take(honest.config(), honest.channel.account),
        lambda: take(config, own),
        got="the channel was taken",
    )


@played(Role.CLIENT, Defence.CHANNEL_ADDRESS, "channel_address: not the published code")
def channel_of_foreign_code() -> Seen:
    """Registers a contract of its own making, which looks alike and pays nobody."""
    parties = Parties()
    foreign = Code(hashlib.sha256(b"pays nobody").digest(), 7)
    account = parties.config().account(foreign)
    return _admitted(parties, NETWORK, parties.config(), account)


@played(Role.CLIENT, Defence.CHANNEL_ADDRESS, "channel_address: not of this configuration")
def address_of_another_channel() -> Seen:
    """Registers somebody else's rich channel under its own keys."""
    parties, rich = Parties(), Parties()
    return _admitted(parties, NETWORK, parties.config(), rich.channel.account)


@played(Role.CLIENT, Defence.CHANNEL_ADDRESS, "channel_not_ours: it pays another account")
def channel_that_pays_another() -> Seen:
    """Registers a channel whose claims go to the client itself."""
    parties = Parties()
    return _admitted(parties, NETWORK, parties.config(gateway=parties.client_account))


@played(Role.CLIENT, Defence.CHANNEL_ADDRESS, "channel_not_ours: another key ends it")
def channel_under_another_gateway_key() -> Seen:
    """Registers a channel that it can close by itself, holding the gateway's key."""
    parties = Parties()
    return _admitted(parties, NETWORK, parties.config(gateway_key=signer().public_key))


@played(Role.CLIENT, Defence.CHANNEL_ADDRESS, "channel_period: too short to claim in time")
def channel_that_closes_at_once() -> Seen:
    """Registers a channel that it can empty a second after it asked for an answer."""
    parties = Parties()
    return _admitted(parties, NETWORK, parties.config(challenge_period=1))


@played(Role.CLIENT, Defence.CHANNEL_ADDRESS, "channel_key: a key of small order")
def channel_key_of_small_order() -> Seen:
    """Registers a channel under a key for which one signature is good for any voucher."""
    parties = Parties()
    return _admitted(parties, NETWORK, parties.config(client_key=_SMALL_ORDER))


@played(Role.CLIENT, Defence.CHANNEL_ADDRESS, "voucher_forged: the client's key signed nothing")
def strangers_channel_registered() -> Seen:
    """Registers a channel that it saw on chain under its own account, to block its owner."""
    parties = Parties()
    channel = parties.channel
    own = registration_of(channel, parties.client)
    stolen = registration_of(channel, signer())
    return tried(
        lambda: check_proof(own, channel),
        lambda: check_proof(stolen, channel),
        got="the channel is the stranger's",
    )
