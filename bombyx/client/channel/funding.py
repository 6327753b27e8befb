"""Opening and topping up channels, within the owner's caps (SPEC 7.8, 7.9).

The order of things: key and books are on disk before money leaves, and each order to the chain has
a name, so that a crash anywhere is taken up again and nothing is sent twice.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bombyx.client.channel.chain_port import ChainSide, Looked
from bombyx.client.channel.gateway import GatewayRoutes
from bombyx.client.channel.marks import CLOSED, UNREGISTERED, clear_mark, is_marked, set_mark
from bombyx.client.channel.payer import Payer
from bombyx.client.channel.records import record_of
from bombyx.client.channel.store import Saving, create_channel
from bombyx.client.channel.wallet import Broken, give_back, named_folders, open_payer, survey
from bombyx.errors import (
    BombyxError,
    ChannelClosing,
    DepositCap,
    SetupError,
    TermsRefused,
    TopUpRefused,
)
from bombyx.money.channel import spending
from bombyx.money.channel.closing import ChannelSigner
from bombyx.money.channel.identity import Channel, ChannelConfig
from bombyx.money.channel.spending import Caps
from bombyx.money.channel.terms import check_new_channel

KEY_BYTES, SALT_BYTES = 32, 8
ORDER_FAILED = "order_failed"
"""A wallet's word that the money is back, or never left."""
WALLET_SHORT = "wallet_short"
"""A wallet's word that it has too little now; it sends once it has enough."""
REGISTER_TRIES = 30
"""Once a second: a gateway's providers may see a deposit a while after ours."""

Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Terms:
    """What the owner allows: the caps, the usual deposit in nano, the channel keys (hex) to pay.

    `root` is where channels lie; `pause` the seconds between two questions to a gateway. `is_asked`
    where somebody named the amount for this one order, so that no other may stand in for it.
    """

    root: Path
    caps: Caps
    amount: int
    keys: tuple[str, ...]
    clock: Callable[[], int]
    draw: Callable[[int], bytes]
    pause: float = 1.0
    is_asked: bool = False

    @property
    def gateways(self) -> frozenset[bytes]:
        """The keys as bytes; raises `TermsRefused` without any."""
        if not self.keys:
            raise TermsRefused(
                "the policy names no channel key: nobody may be paid. Add the gateway's to "
                "`channel_keys` of the policy, from a source that you trust"
            )
        return frozenset(bytes.fromhex(key) for key in self.keys)


def locked(root: Path, identity: str, *, but: Path | None = None) -> int:
    """What all channels to one gateway hold beyond what was spent, in nano; `but` is left out.

    Raises `SetupError` for one that is broken and may be of this gateway: it cannot be counted.
    """
    seen = survey(named_folders(root))
    for one in seen.broken:
        _check_foreign(one, identity)
    purses = [
        one.purse for one in seen.found if one.record.identity == identity and one.folder != but
    ]
    return sum(
        max(one.deposited + one.topping_up - one.proven, 0) for one in purses if not one.closing
    )


def _check_foreign(broken: Broken, identity: str) -> None:
    if broken.record is None or broken.record.identity == identity:
        raise SetupError(
            f"{broken.error.message}. What that channel holds cannot be counted, so that none is "
            "opened beside it: mend its folder, or move it away"
        )


async def open_channel(
    routes: GatewayRoutes,
    chain: ChainSide,
    terms: Terms,
    *,
    identity: str,
    payer: str,
    say: Say,
) -> Payer:
    """A funded channel that the gateway knows; one that was begun is finished.

    `identity` and `payer` are hex keys. Raises `TermsRefused`, `DepositCap`, `TopUpRefused` where
    another amount than asked is queued, and what the chain, the gateway and the disk raise.
    """
    folder = _begun(terms.root, identity, payer, chain)
    if folder is None:
        folder = await _prepare(routes, chain, terms, identity=identity, payer=payer)
    one = open_payer(folder, terms.caps, clock=terms.clock)
    try:
        await _fund(one, chain, terms, identity=identity, say=say)
        await _registered(one, routes, terms, say=say)
    except BaseException:
        give_back(one)
        raise
    return one


async def _fund(one: Payer, chain: ChainSide, terms: Terms, *, identity: str, say: Say) -> None:
    _check_network(one, chain)
    # It may have arrived after we stopped waiting.
    await refresh(one, chain)
    least, purse = int(one.store.record.min_deposit), one.purse
    if purse.deposited and not purse.topping_up:
        say(f"the channel {one.store.name} was begun before and holds {purse.deposited} nano")
        return
    if not purse.topping_up:
        amount = _first_deposit(terms, least, identity)
        await saved(one.change(lambda purse: replace(purse, topping_up=amount)))
    elif terms.is_asked and terms.amount != purse.deposited + purse.topping_up:
        amount = _first_deposit(terms, least, identity, but=one.store.folder)
        _check_queued(one, terms.amount, amount - purse.deposited)
    say(f"depositing {one.purse.topping_up} nano in the channel {one.store.name}")
    await _carry_out(one, chain, say=say)


async def top_up(
    one: Payer, chain: ChainSide, terms: Terms, *, cost: int, wanted: int, say: Say
) -> int:
    """Bring as much more as a request of `cost` needs, `wanted` if the cap allows; gives it.

    What is queued from before goes first: the wallet sends that order anyway, so that a greater one
    in its place would come on top of it. Raises as `spending.plan_top_up` and the chain do.
    """
    queued = await _finish_queued(one, chain, terms, say=say)
    await saved(one.change(lambda purse: _planned(one, purse, terms, cost=cost, wanted=wanted)))
    return queued + await _send(one, chain, say=say)


def _planned(
    one: Payer, purse: spending.Purse, terms: Terms, *, cost: int, wanted: int
) -> spending.Purse:
    return spending.plan_top_up(
        purse,
        one.caps,
        cost=cost,
        wanted=wanted,
        to=one.store.channel.account,
        channel=one.store.channel,
        gateways=terms.gateways,
    )[0]


async def _finish_queued(one: Payer, chain: ChainSide, terms: Terms, *, say: Say) -> int:
    """Send what an earlier order left queued; gives it. Raises as `top_up` does."""
    await refresh(one, chain)
    if not one.purse.topping_up:
        return 0
    # It costs no request: only whether this channel may still be paid is looked at.
    _planned(one, one.purse, terms, cost=0, wanted=0)
    return await _send(one, chain, say=say)


async def _send(one: Payer, chain: ChainSide, *, say: Say) -> int:
    amount = one.purse.topping_up
    if amount:
        say(f"sending {amount} nano to the channel {one.store.name}")
        await _carry_out(one, chain, say=say)
    return amount


async def top_up_by(
    one: Payer, chain: ChainSide, terms: Terms, amount: int | None, *, say: Say
) -> int:
    """Bring exactly `amount` more than there is, whatever is free; gives it.

    None is what is queued from before, else the usual amount. Raises as `top_up` does, and
    `TopUpRefused` where another amount is queued.
    """
    await refresh(one, chain)
    purse = one.purse
    if purse.topping_up:
        if amount is not None:
            _check_queued(one, amount, max(amount, one.caps.min_top_up))
        return await _finish_queued(one, chain, terms, say=say)
    more = terms.amount if amount is None else amount
    spare = purse.deposited - purse.proven - purse.reserved
    return await top_up(one, chain, terms, cost=spare + more, wanted=more, say=say)


def _check_queued(one: Payer, asked: int, sent: int) -> None:
    """Raises `TopUpRefused` where the order that is queued is not the one that is asked for."""
    queued = one.purse.topping_up
    if sent != queued:
        raise TopUpRefused(
            f"{asked} nano are refused: {queued} nano are queued for the channel {one.store.name}, "
            f"and are sent once the wallet has money. Name {queued} or leave --amount-nano out"
        )


def with_amount(terms: Terms, amount: int) -> Terms:
    """The same for a deposit of just this amount."""
    return replace(terms, amount=amount, is_asked=True)


async def refresh(one: Payer, chain: ChainSide) -> Looked | None:
    """Look at the chain: deposits that arrived, and a close that began, go into the books."""
    looked = await chain.look(one.store.channel)
    if looked is not None:
        await noted(one, looked)
    return looked


async def noted(one: Payer, looked: Looked) -> None:
    """What was seen is in the books, and on disk."""
    await saved(one.change(lambda purse: spending.topped_up(purse, looked.deposited)))
    if (looked.close_at or looked.closed) and not one.purse.closing:
        await saved(one.change(spending.closing))
    if looked.closed:
        await ended(one)


async def ended(one: Payer) -> None:
    """The contract has ended, and the disk knows: nobody means this channel any more."""
    await asyncio.to_thread(set_mark, one.store.folder, CLOSED)


def _check_network(one: Payer, chain: ChainSide) -> None:
    if chain.network != one.store.channel.network:
        raise TopUpRefused("the channel is on another network than the wallet")


async def _carry_out(one: Payer, chain: ChainSide, *, say: Say) -> None:
    """Send what the books say is on its way, once, and see it arrive."""
    channel = one.store.channel
    _check_network(one, chain)
    # It may have arrived after we stopped waiting.
    await refresh(one, chain)
    purse = one.purse
    if not purse.topping_up:
        return
    aim = purse.deposited + purse.topping_up
    order = f"deposit {one.store.name} to {aim}"
    try:
        await chain.deposit(channel, purse.topping_up, order=order)
    except BombyxError as error:
        if error.code == ORDER_FAILED:
            await saved(one.change(spending.top_up_failed))
        if error.code == WALLET_SHORT:
            raise type(error)(
                f"{error.message}. The deposit of {purse.topping_up} nano stays queued, and is "
                "sent once the wallet has money and is used again"
            ) from error
        raise
    looked = await refresh(one, chain)
    if looked is None or looked.deposited < aim:
        raise ChannelClosing("the deposit left, and the channel does not show it: look again later")
    say(f"the channel holds {looked.deposited} nano")


async def _registered(one: Payer, routes: GatewayRoutes, terms: Terms, *, say: Say) -> None:
    for _ in range(REGISTER_TRIES):
        view = await routes.register(one.store.record.registration)
        if view is not None and int(view.deposited_nano) >= one.purse.deposited:
            await asyncio.to_thread(clear_mark, one.store.folder, UNREGISTERED)
            say("the gateway accepts the channel")
            return
        await asyncio.sleep(terms.pause)
    raise TermsRefused("the gateway does not see the deposit yet; requests will ask it again")


def _begun(root: Path, identity: str, payer: str, chain: ChainSide) -> Path | None:
    """A channel of ours that never got its money, or that its gateway never accepted."""
    for found in survey(named_folders(root)).found:
        record, purse = found.record, found.purse
        is_new = not purse.deposited or is_marked(found.folder, UNREGISTERED)
        mine = (record.identity, record.payer) == (identity, payer)
        is_over = purse.closing or purse.alarm
        if is_new and mine and not is_over and record.registration.client == chain.account.hex():
            return found.folder
    return None


async def _prepare(
    routes: GatewayRoutes, chain: ChainSide, terms: Terms, *, identity: str, payer: str
) -> Path:
    offered = await routes.terms()
    new = check_new_channel(
        offered,
        network=chain.network,
        gateways=terms.gateways,
        max_deposit=terms.caps.max_deposit,
    )
    _first_deposit(terms, new.min_deposit, identity)
    seed = terms.draw(KEY_BYTES)
    signer = ChannelSigner(seed)
    config = ChannelConfig(
        client=chain.account,
        gateway=new.gateway,
        client_key=signer.public_key,
        gateway_key=new.gateway_key,
        challenge_period=new.min_challenge_s,
        salt=int.from_bytes(terms.draw(SALT_BYTES)),
    )
    record = record_of(
        Channel(chain.network, config),
        signer,
        identity=identity,
        payer=payer,
        origin=routes.origin,
        opened_at=terms.clock(),
        min_deposit=new.min_deposit,
    )
    return create_channel(terms.root, record, seed)


def _first_deposit(terms: Terms, least: int, identity: str, *, but: Path | None = None) -> int:
    amount = max(terms.amount, least, terms.caps.min_top_up)
    room = terms.caps.max_deposit - locked(terms.root, identity, but=but)
    if max(least, terms.caps.min_top_up) > room:
        raise DepositCap("a new channel would lock more with this gateway than is allowed")
    return min(amount, room)


async def saved(saving: Saving) -> None:
    """Wait for the disk; raises `SetupError`."""
    await asyncio.wrap_future(saving.done)
    saving.result()
