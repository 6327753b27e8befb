"""What a channel costs a gateway: a voucher without the database, and all that a request pays more.

"Header to books" is the rate at which one core accepts vouchers: 10^6 / us_cpu a second. A request
by channel adds the look at its name and voucher (with a signature for each), the row in the
claim's transaction and in the settlement's; the same claims and settlements out of a balance are
taken off. On SQLite, in batches of twenty as of twenty clients at once.
"""

import asyncio
import hashlib
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import text

from bombyx import canonical
from bombyx.money.channel.acceptance import ChannelRow, reserve, settle
from bombyx.money.channel.closing import ChannelSigner
from bombyx.money.channel.identity import Channel, ChannelConfig
from bombyx.money.channel.terms import Ceiling, check_offered, network_text, voucher_of
from gateway.accounts.repository import Accounts
from gateway.channels.offers import Cashier
from gateway.channels.repository import Channels
from gateway.channels.till import Till, parse_voucher
from gateway.database import create_engine, upgrade
from gateway.metering.port import Store
from gateway.metering.rows import ChannelClaim, NewClaim, SettlementRow, SignedStatement
from gateway.metering.sqlite_store import SqliteStore

VOUCHERS = 2_000
BATCH = 20
RESERVE, CHARGE = 1_000, 400
PLENTY = 10**15
_SIGNER = ChannelSigner(bytes(range(32)))


def _channel() -> Channel:
    wallet = hashlib.sha256(b"wallet").digest()
    return Channel(
        -3,
        ChannelConfig(wallet, wallet, _SIGNER.public_key, _SIGNER.public_key, 7_200, 1),
    )


def _headers(channel: Channel) -> list[bytes]:
    """One voucher for each request, each a little higher."""
    amounts = [RESERVE * (at + BATCH + 1) for at in range(VOUCHERS)]
    signed = [Ceiling(top, 0, _SIGNER.sign(channel.template, top)) for top in amounts]
    return [canonical.encode(voucher_of(channel, one)) for one in signed]


def measure(*, rounds: int) -> list[dict[str, object]]:
    """Rows for the table of CPU time; the best of the rounds, as for vouchers."""
    channel = _channel()
    headers = _headers(channel)

    def accept() -> None:
        row = ChannelRow(deposited=PLENTY)
        for header in headers:
            row = reserve(row, RESERVE, offered=check_offered(parse_voucher(header), channel))
            row = settle(row, RESERVE, charge=CHARGE)

    bare = min(_timed(accept) for _ in range(max(rounds, 1)))
    added = min(asyncio.run(_added(channel, headers)) for _ in range(max(rounds, 1)))
    return [
        {"case": "voucher, header to books, no database", "us_cpu": bare, "unit": "voucher"},
        {"case": "a channel adds to a request", "us_cpu": added, "unit": "request"},
    ]


def _timed(work: Callable[[], None]) -> float:
    begun = time.process_time()
    work()
    return round((time.process_time() - begun) / VOUCHERS * 1e6, 1)


async def _added(channel: Channel, headers: Sequence[bytes]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/gateway.db"
        await upgrade(url)
        engine, store = create_engine(url), SqliteStore(Path(folder) / "gateway.db")
        try:
            accounts, channels = Accounts(engine), Channels(engine)
            account = (await accounts.create("bench")).id
            await accounts.credit(account, PLENTY, txn="bench")
            await channels.register(channel, account)
            await channels.fund(channel.account.hex(), PLENTY)
            async with engine.begin() as connection:
                await connection.execute(text("PRAGMA wal_autocheckpoint = 0"))
            epoch = await store.open_process(0, "wss://bench")
            await store.grant(account, 0, epoch=epoch, need=PLENTY // 2, processes=1)
            prepaid = await _cost(_prepaid(store, account, epoch))
            till = Till(channels, Cashier(channel.network, b"", b"", 1_500))
            paid = await _cost(_by_channel(store, till, account, epoch, (channel, headers)))
        finally:
            await store.close()
            await engine.dispose()
    return round(paid - prepaid, 1)


async def _cost(work: Callable[[int], Awaitable[None]]) -> float:
    """Microseconds of CPU a request, of all threads."""
    await work(0)
    begun = time.process_time()
    for at in range(BATCH, VOUCHERS, BATCH):
        await work(at)
    return (time.process_time() - begun) / (VOUCHERS - BATCH) * 1e6


def _prepaid(store: Store, account: str, epoch: int) -> Callable[[int], Awaitable[None]]:
    async def work(at: int) -> None:
        claims = [_claim("prepaid", at + one, account) for one in range(BATCH)]
        await store.claim(0, epoch, claims)
        await store.settle([_settlement(claim) for claim in claims])

    return work


def _by_channel(
    store: Store, till: Till, account: str, epoch: int, paying: tuple[Channel, Sequence[bytes]]
) -> Callable[[int], Awaitable[None]]:
    channel, headers = paying
    name, channel_id = (
        f"{network_text(channel.network)}:{channel.account.hex()}",
        channel.account.hex(),
    )

    async def work(at: int) -> None:
        claims = []
        for one in range(BATCH):
            payment = await till.payment(name, account, voucher=headers[at + one])
            claim = _claim("paid", at + one, account, channel=channel_id)
            claims.append(ChannelClaim(claim, payment.offered))
        await store.claim_by_channel(0, epoch, claims)
        await store.settle([_settlement(one.claim) for one in claims])

    return work


def _claim(kind: str, number: int, account: str, **changes: Any) -> NewClaim:
    c = hashlib.sha256(f"{kind} {number}".encode()).digest()
    return NewClaim(
        c=c,
        h=c,
        id=c[:16].hex(),
        account=account,
        reserve=RESERVE,
        deadline=4_000_000_000_000,
        tier="sealed",
        model="m",
        payer=c.hex(),
        fee_bps=500,
        header=bytes(900),
        req_ct_hash=c,
        worker=c.hex(),
        ticket=bytes(300).hex(),
        offer=c.hex(),
        **changes,
    )


def _settlement(claim: NewClaim) -> SettlementRow:
    statement = SignedStatement(claim.c, claim.id, claim.worker, "final", bytes(1_500))
    return SettlementRow(claim.c, CHARGE, 0, "worker:bench", statement)
