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
from bombyx.client.channel.payer import Payer
from bombyx.client.channel.records import record_of
from bombyx.client.channel.store import Saving, create_channel, read_purse, read_record
from bombyx.client.channel.wallet import channel_folders, open_payer
from bombyx.errors import BombyxError, ChannelClosing, DepositCap, TermsRefused, TopUpRefused
from bombyx.money.channel import spending
from bombyx.money.channel.closing import ChannelSigner
from bombyx.money.channel.identity import Channel, ChannelConfig
from bombyx.money.channel.spending import Caps
from bombyx.money.channel.terms import check_new_channel

KEY_BYTES, SALT_BYTES = 32, 8
ORDER_FAILED = "order_failed"
"""A wallet's word that the money is back, or never left."""
REGISTER_TRIES = 30
"""Once a second: a gateway's providers may see a deposit a while after ours."""

Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Terms:
    """What the owner allows: the caps, the usual deposit in nano, the channel keys (hex) to pay.

    `root` is where channels lie; `pause` the seconds between two questions to a gateway.
    """

    root: Path
    caps: Caps
    amount: int
    keys: tuple[str, ...]
    clock: Callable[[], int]
    draw: Callable[[int], bytes]
    pause: float = 1.0

    @property
    def gateways(self) -> frozenset[bytes]:
        """The keys as bytes; raises `TermsRefused` without any."""
        if not self.keys:
            raise TermsRefused(
                "the policy names no channel key: nobody may be paid. Add the gateway's to "
                "`channel_keys` of the policy, from a source that you trust"
            )
        return frozenset(bytes.fromhex(key) for key in self.keys)


def locked(root: Path, identity: str) -> int:
    """What all channels to one gateway hold beyond what was spent, in nano."""
    purses = [
        read_purse(folder, record)
        for folder in channel_folders(root)
        if (record := read_record(folder)).identity == identity
    ]
    return sum(
        max(one.deposited + one.topping_up - one.proven, 0) for one in purses if not one.closing
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
    """A funded channel that the gateway knows; one that was begun and not funded is finished.

    `identity` and `payer` are hex keys. Raises `TermsRefused`, `DepositCap` and what the chain,
    the gateway and the disk raise.
    """
    folder = _begun(terms.root, identity, payer, chain)
    if folder is None:
        folder = await _prepare(routes, chain, terms, identity=identity, payer=payer)
    one = open_payer(folder, terms.caps, clock=terms.clock)
    try:
        await _fund(one, chain, terms, identity=identity, say=say)
        await _registered(one, routes, terms, say=say)
    except BaseException:
        one.close()
        raise
    return one


async def _fund(one: Payer, chain: ChainSide, terms: Terms, *, identity: str, say: Say) -> None:
    if not one.purse.topping_up:
        amount = _first_deposit(terms, int(one.store.record.min_deposit), identity)
        await saved(one.change(lambda purse: replace(purse, topping_up=amount)))
    say(f"depositing {one.purse.topping_up} nano in the channel {one.store.name}")
    await _carry_out(one, chain, say=say)


async def top_up(
    one: Payer, chain: ChainSide, terms: Terms, *, cost: int, wanted: int, say: Say
) -> int:
    """Bring as much more as a request of `cost` needs, `wanted` if the cap allows; gives it.

    Raises as `spending.plan_top_up` and the chain do.
    """
    await refresh(one, chain)
    account = one.store.channel.account

    def planned(purse: spending.Purse) -> spending.Purse:
        return spending.plan_top_up(
            purse,
            one.caps,
            cost=cost,
            wanted=wanted,
            to=account,
            channel=one.store.channel,
            gateways=terms.gateways,
        )[0]

    await saved(one.change(planned))
    amount = one.purse.topping_up
    if amount:
        say(f"sending {amount} nano to the channel {one.store.name}")
        await _carry_out(one, chain, say=say)
    return amount


async def top_up_by(one: Payer, chain: ChainSide, terms: Terms, amount: int, *, say: Say) -> int:
    """Bring exactly `amount` more than there is, whatever is free; raises as `top_up` does."""
    await refresh(one, chain)
    purse = one.purse
    spare = purse.deposited - purse.proven - purse.reserved
    return await top_up(one, chain, terms, cost=spare + amount, wanted=amount, say=say)


def with_amount(terms: Terms, amount: int) -> Terms:
    """The same with another deposit."""
    return replace(terms, amount=amount)


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


async def _carry_out(one: Payer, chain: ChainSide, *, say: Say) -> None:
    """Send what the books say is on its way, once, and see it arrive."""
    channel = one.store.channel
    if chain.network != channel.network:
        raise TopUpRefused("the channel is on another network than the wallet")
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
        raise
    looked = await refresh(one, chain)
    if looked is None or looked.deposited < aim:
        raise ChannelClosing("the deposit left, and the channel does not show it: look again later")
    say(f"the channel holds {looked.deposited} nano")


async def _registered(one: Payer, routes: GatewayRoutes, terms: Terms, *, say: Say) -> None:
    for _ in range(REGISTER_TRIES):
        view = await routes.register(one.store.record.registration)
        if view is not None and int(view.deposited_nano) >= one.purse.deposited:
            say("the gateway accepts the channel")
            return
        await asyncio.sleep(terms.pause)
    raise TermsRefused("the gateway does not see the deposit yet; requests will ask it again")


def _begun(root: Path, identity: str, payer: str, chain: ChainSide) -> Path | None:
    """A channel of ours that was laid down and never got its money."""
    for folder in channel_folders(root):
        record = read_record(folder)
        purse = read_purse(folder, record)
        is_new = not (purse.deposited or purse.closing)
        mine = (record.identity, record.payer) == (identity, payer)
        if is_new and mine and record.registration.client == chain.account.hex():
            return folder
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


def _first_deposit(terms: Terms, least: int, identity: str) -> int:
    amount = max(terms.amount, least, terms.caps.min_top_up)
    room = terms.caps.max_deposit - locked(terms.root, identity)
    if max(least, terms.caps.min_top_up) > room:
        raise DepositCap("a new channel would lock more with this gateway than is allowed")
    return min(amount, room)


async def saved(saving: Saving) -> None:
    """Wait for the disk; raises `SetupError`."""
    await asyncio.wrap_future(saving.done)
    saving.result()
