"""An owner's payout channels, and what the owner earns, short to write."""

import hashlib
from typing import Any

import msgspec

from bombyx.money.channel.closing import ChannelSigner
from bombyx.money.channel.identity import PAYOUT_CHALLENGE_S, Channel
from bombyx.money.channel.payout_documents import nobodys_key
from bombyx.money.channel.terms import Ceiling
from gateway.channels.ledger import writing
from gateway.database import create_engine
from gateway.metering.port import Store
from gateway.payouts.repository import Payouts
from gateway.payouts.rows import COLUMNS, StoredPayout, owner_account, stored_payout
from tests.bombyx.money.channel.parties import NETWORK, config
from tests.factories import seed
from tests.gateway.metering.samples import execute, new_claim, settlement

OWNER = "bob"
"""To whom `samples.settlement` pays."""
PAYS = ChannelSigner(seed("the gateway's channel key"))
OUR_WALLET = hashlib.sha256(b"our wallet").digest()
PAYEE = hashlib.sha256(b"bob's wallet").digest()


def channel(salt: int = 1, **fields: Any) -> Channel:
    given = {
        "client": OUR_WALLET,
        "client_key": PAYS.public_key,
        "gateway": PAYEE,
        "gateway_key": nobodys_key(PAYEE),
        "challenge_period": PAYOUT_CHALLENGE_S,
        "salt": salt,
    }
    return Channel(NETWORK, config(**given | fields))


def held(amount: int, salt: int = 1) -> Ceiling:
    """A voucher that we signed."""
    return Ceiling(amount, 0, PAYS.sign(channel(salt).template, amount))


async def earn(store: Store, epoch: int, number: int, amount: int, *, owner: str = OWNER) -> None:
    """A request of alice's that a worker of bob's, or of another owner's, ran."""
    await store.claim(1, epoch, [new_claim(number, reserve=amount)])
    row = msgspec.structs.replace(
        settlement(number, amount=amount, fee=0), payee=owner_account(owner)
    )
    await store.settle([row])


async def begin(payouts: Payouts, url: str, salt: int = 1, ordered: int = 0) -> StoredPayout:
    """A channel as the chain's part keeps it before its deposit is sent."""
    engine = create_engine(url)
    try:
        async with writing(engine) as connection:
            await payouts.begin_in(connection, OWNER, channel(salt), ordered=ordered)
    finally:
        await engine.dispose()
    found = await kept(url, channel(salt).account.hex())
    assert found is not None
    return found


async def kept(url: str, channel_id: str) -> StoredPayout | None:
    """A channel's row."""
    return await _row(url, "id = :value", channel_id)


async def live(url: str, owner: str) -> StoredPayout | None:
    """The row of the channel that new vouchers for an owner are of."""
    return await _row(url, "live AND owner = :value", owner)


async def _row(url: str, where: str, value: str) -> StoredPayout | None:
    query = f"SELECT {', '.join(COLUMNS)} FROM payout_channel WHERE {where}"
    return next(map(stored_payout, await execute(url, query, value=value)), None)
