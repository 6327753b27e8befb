"""What the commands of `bombyx channel` do, and the document that tells it."""

import contextlib
from pathlib import Path
from typing import Any

from bombyx.cli.channel.desk import Desk
from bombyx.cli.channel.shown import broken, document, read
from bombyx.client.channel import ending, funding
from bombyx.client.channel.chain_port import ChainSide, Looked
from bombyx.client.channel.ending import Ended
from bombyx.client.channel.marks import CLOSED, is_marked
from bombyx.client.channel.payer import Payer
from bombyx.client.channel.records import ChannelRecord
from bombyx.client.opening import load_identity, resolve_policy
from bombyx.errors import BombyxError, SetupError
from bombyx.money.channel.documents import ChannelView

CLIENT_FOLDER = "client"


async def open_(desk: Desk, amount: int | None) -> dict[str, Any]:
    """Open a channel to the gateway of the settings."""
    policy = resolve_policy(None, desk.settings)
    terms = desk.terms(policy)
    if amount is not None:
        terms = funding.with_amount(terms, amount)
    async with desk.routes(desk.origin) as routes, desk.chain(sends=True) as chain:
        identity = await routes.identity(policy)
        signer = load_identity(desk.root.parent / CLIENT_FOLDER).payer(identity, desk.authorization)
        opened = await funding.open_channel(
            routes, chain, terms, identity=identity, payer=signer.public_hex, say=desk.say
        )
        with contextlib.closing(opened) as one:
            return await _shown(one, chain)


async def status(desk: Desk, name: str | None, *, offline: bool) -> dict[str, Any]:
    """Channels as they are, and which are broken; whoever has one in use is not disturbed."""
    seen = desk.survey(name)
    folders = [one.folder for one in seen.found]
    if offline or not folders:
        shown = [document(*read(folder), is_closed=_is_closed(folder)) for folder in folders]
    else:
        async with desk.chain() as chain:
            shown = [await _status(desk, chain, folder) for folder in folders]
    return {"channels": shown, "broken": [broken(one) for one in seen.broken]}


def _is_closed(folder: Path) -> bool:
    return is_marked(folder, CLOSED)


async def _status(desk: Desk, chain: ChainSide, folder: Path) -> dict[str, Any]:
    """One channel; what the chain shows goes into its books, unless another process has them."""
    record, _ = read(folder)
    looked = await _looked(desk, chain, record)
    if looked is not None:
        try:
            with contextlib.closing(desk.take(folder)) as one:
                await funding.noted(one, looked)
        except SetupError as error:
            desk.say(f"{folder.name[:16]}…: its books are shown as they are: {error.message}")
    view = await _view(desk, record)
    return document(record, read(folder)[1], looked, view, is_closed=_is_closed(folder))


async def top_up(desk: Desk, name: str | None, amount: int | None) -> dict[str, Any]:
    """Bring `amount` more into a channel."""
    terms = desk.terms(resolve_policy(None, desk.settings))
    with contextlib.closing(desk.one(name)) as one:
        async with desk.chain(sends=True) as chain:
            await funding.top_up_by(one, chain, terms, amount, say=desk.say)
            return await _shown(one, chain)


async def close(desk: Desk, name: str | None, *, alone: bool) -> dict[str, Any]:
    """End a channel, with its gateway or without."""
    with contextlib.closing(desk.one(name)) as one:
        async with desk.chain(sends=True) as chain:
            if alone:
                return _ended(one, await ending.close_alone(one, chain, say=desk.say))
            async with desk.routes(desk.origin_of(one.store.record)) as routes:
                told = await ending.close_together(one, routes, chain, say=desk.say)
                return _ended(one, told)


async def withdraw(desk: Desk, name: str | None) -> dict[str, Any]:
    """Take what is left."""
    with contextlib.closing(desk.one(name)) as one:
        async with desk.chain(sends=True) as chain:
            return _ended(one, await ending.withdraw(one, chain, say=desk.say))


async def history(desk: Desk, name: str | None) -> list[dict[str, Any]]:
    """What happened on chain to the channels that are meant."""
    events: list[dict[str, Any]] = []
    async with desk.chain() as chain:
        for folder in desk.folders(name):
            events += await chain.history(read(folder)[0].channel)
    return events


async def _shown(one: Payer, chain: ChainSide) -> dict[str, Any]:
    looked = await funding.refresh(one, chain)
    return document(one.store.record, one.purse, looked)


async def _looked(desk: Desk, chain: ChainSide, record: ChannelRecord) -> Looked | None:
    try:
        return await chain.look(record.channel)
    except BombyxError as error:
        desk.say(f"the chain was not seen: {error.message}")
        return None


async def _view(desk: Desk, record: ChannelRecord) -> ChannelView | None:
    if desk.settings.api_key is None:
        return None
    try:
        async with desk.routes(record.origin) as routes:
            return await routes.view(record.registration.channel)
    except BombyxError as error:
        desk.say(f"the gateway was not asked: {error.message}")
        return None


def _ended(one: Payer, ended: Ended) -> dict[str, Any]:
    return {
        "channel": one.store.name,
        "how": ended.how,
        "claimed_nano": str(ended.claimed),
        "refunded_nano": str(ended.refunded),
        "close_at": ended.close_at,
    }
