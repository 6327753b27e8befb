"""Owners who are paid by channel: requests earn, vouchers come, the chain pays (SPEC 8)."""

import asyncio
import contextlib
import dataclasses
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import pytest
from sqlalchemy import text

from bombyx import canonical
from bombyx.link.hello import Identify
from bombyx.money.channel.identity import Channel
from bombyx.money.channel.payout import UNSECURED_CREDIT, VOUCHER_EVERY_MS
from bombyx.money.channel.payout_documents import (
    PAYOUTS_FILE,
    HeldPayout,
    PayoutFile,
    payout_channel_of,
)
from bombyx.money.channel.terms import Ceiling, Voucher, voucher_of
from gateway.channels.chain.opening import ChainParts, Connection, Process
from gateway.payouts.repository import Payouts, uneven_payouts
from gateway.payouts.rows import StoredPayout
from tests.gateway.channels.chain.fixtures import LOST_S
from tests.gateway.payouts.samples import PAYS, live
from tests.network.harness import MODEL, Network, RunningWorker, network
from tests.ton.channels.parties import GRAM, wallet_on
from tests.ton.conftest import base_config, node_modules
from tests.ton.devnet.fixtures import devnet, devnet_tvm, running, wall
from tests.ton.wallet.fixtures import chain, flaky
from ton.chain.agreed import AgreedChain
from ton.channels.orders import start_close
from ton.channels.seen import look
from ton.codec.cells import raw
from ton.devnet.chain import Devnet
from ton.owner.payouts.round import Owner
from ton.wallet.keys import WalletKey
from ton.wallet.wallet import Wallet

__all__ = [
    "base_config",
    "chain",
    "devnet",
    "devnet_tvm",
    "flaky",
    "node_modules",
    "running",
    "wall",
]
DEAR = 10_000_000_000_000
"""Nano per million tokens of output: a few requests are worth a channel."""
MOST = 1_000 * GRAM
"""Where tokens are as dear as that, deposits are large."""
ASK: dict[str, Any] = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "tell me of the moth"}],
    "max_tokens": 200,
}


@dataclass
class Paid:
    """A network whose gateway pays one owner of two workers."""

    net: Network
    chain: AgreedChain
    devnet: Devnet
    parts: ChainParts
    wallet: Wallet
    payouts: Payouts
    workers: list[RunningWorker] = field(default_factory=list)

    @property
    def owner(self) -> str:
        return raw(self.wallet.address)

    @property
    def database_url(self) -> str:
        return f"sqlite:///{self.net.context.engine.url.database}"

    def folder(self, number: int) -> Path:
        return self.net.folder / f"state-{number}"

    async def add_worker(self, **settings: Any) -> RunningWorker:
        folder = self.folder(len(self.workers))
        folder.mkdir(exist_ok=True)
        given: dict[str, Any] = {"wallet": self.owner, "price_completion": DEAR} | settings
        worker = await self.net.add_worker(state=folder, **given)
        self.workers.append(worker)
        return worker

    async def ask(self, count: int = 1) -> None:
        sdk = self.net.sealed()
        await asyncio.gather(
            *(sdk.chat.completions.create(**ASK, user=str(at)) for at in range(count))
        )
        await self.net.settled()

    async def rounds(self, count: int = 4) -> None:
        for _ in range(count):
            assert await self.parts.task.round()

    async def stored(self) -> StoredPayout:
        found = await live(self.database_url, self.owner)
        assert found is not None
        return found

    def held(self, number: int = 0) -> HeldPayout | None:
        """The current channel in a worker's file."""
        path = self.folder(number) / PAYOUTS_FILE
        if not path.exists():
            return None
        file = canonical.decode(path.read_bytes(), PayoutFile)
        return next((one for one in file.held if one.is_current), None)

    def voucher(self, number: int = 0) -> int:
        held = self.held(number)
        if held is None or not isinstance(held.voucher, Voucher):
            return 0
        return int(held.voucher.amount)

    def look(self) -> Owner:
        """The owner's tool over all workers."""
        folders = [self.folder(at) for at in range(len(self.workers))]
        return Owner(self.chain, folders, unix=self.devnet.now)

    @property
    def gateway(self) -> str:
        return self.net.context.gateway


async def until(is_so: Callable[[], Awaitable[bool] | bool], seconds: float = 8) -> None:
    async with asyncio.timeout(seconds):
        while True:
            answer = is_so()
            if (await answer) if isinstance(answer, Awaitable) else answer:
                return
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def paid_network(
    folder: Path, chain: AgreedChain, devnet: Devnet, **settings: Any
) -> AsyncIterator[Paid]:
    connection = Connection(chain, WalletKey(b"\x31" * 32))
    wallet = wallet_on(chain, "the owner")
    async with network(folder, workers=0, chain=connection.side, **settings) as net:
        context = net.context
        key = context.keys.channel.public_key
        slot = context.settings.slot
        process = Process(context.engine, context.store, slot, key, LOST_S, MOST)
        parts = connection.parts(process, unix=devnet.now, every_s=1)
        await parts.task.round()
        payouts = Payouts(context.engine, network=chain.network)
        yield Paid(net, chain, devnet, parts, wallet, payouts)
        assert await uneven_payouts(context.engine) == []
        assert await context.store.ledger_sum() == 0


@pytest.fixture
async def paid(tmp_path: Path, chain: AgreedChain, devnet: Devnet) -> AsyncIterator[Paid]:
    devnet.give(wallet_on(chain, "the owner").address, 100 * GRAM)
    devnet.give(Connection(chain, WalletKey(b"\x31" * 32)).address, 1_000 * GRAM)
    async with paid_network(tmp_path, chain, devnet) as paid:
        yield paid


async def begun(paid: Paid, workers: int = 2) -> int:
    """Some workers and requests, a channel, and a voucher at each; what was earned."""
    for _ in range(workers):
        await paid.add_worker()
    await paid.ask(8)
    earned = await paid.payouts.unpaid(paid.owner)
    assert earned >= UNSECURED_CREDIT
    await paid.rounds()
    assert net_paymaster(paid) is not None
    await net_paymaster(paid).sweep()
    await until(lambda: {paid.voucher(at) for at in range(workers)} == {earned})
    return earned


def net_paymaster(paid: Paid) -> Any:
    return paid.net.context.paymaster


@pytest.mark.spec("8.2-a", "8.6-a", "8.8-a")
async def test_requests_earn_a_voucher_comes_with_the_ack_and_the_chain_pays(paid: Paid) -> None:
    earned = await begun(paid)
    await paid.ask(2)
    total = (await paid.stored()).vouched + await paid.payouts.unpaid(paid.owner)
    await until(lambda: paid.voucher(0) == total > earned)
    before, (_, spent, _) = paid.devnet.account(paid.owner).balance, paid.devnet.supply()
    owner = paid.look()
    claims = await owner.claim(paid.wallet)
    assert [(one.amount, one.paid, one.exit_code) for one in claims] == [(total, total, 0)]
    after, (minted, fees, balances) = (
        paid.devnet.account(paid.owner).balance,
        paid.devnet.supply(),
    )
    # To the nano: the owner has what was earned, less what the network burnt for this claim.
    assert after - before == total - (fees - spent)
    assert minted == fees + balances
    await paid.rounds()
    stored = await paid.stored()
    assert (stored.vouched, stored.claimed) == (total, total)
    seen = await look(paid.chain, stored.channel)
    assert seen is not None
    assert seen.claimed == total


@pytest.mark.spec("8.1-a", "8.1-b")
async def test_a_gateway_restarted_from_an_old_copy_is_healed_by_its_workers(
    tmp_path: Path, chain: AgreedChain, devnet: Devnet
) -> None:
    devnet.give(Connection(chain, WalletKey(b"\x31" * 32)).address, 1_000 * GRAM)
    state, database = tmp_path / "state", tmp_path / "gateway.db"
    backup = tmp_path / "old.db"
    state.mkdir()
    first = f"sqlite:///{database}"
    async with paid_network(state, chain, devnet, database_url=first) as paid:
        shutil.copyfile(database, backup)
        earned = await begun(paid)
        channel = (await paid.stored()).id
        folder = paid.folder(0)
    database.unlink()
    shutil.copyfile(backup, database)
    for extra in ("-wal", "-shm"):
        database.with_name(database.name + extra).unlink(missing_ok=True)
    async with paid_network(state, chain, devnet, database_url=first) as paid:
        assert await live(paid.database_url, paid.owner) is None
        assert paid.folder(0) == folder
        await paid.add_worker()
        stored = await paid.stored()
        assert (stored.id, stored.vouched) == (channel, earned)
        assert await paid.payouts.unpaid(paid.owner) == 0
        # What the wallet sent and these books did not sign needs a person; owners do not.
        keeper = paid.parts.task.keeper
        assert keeper is not None
        await keeper.round()
        assert (await paid.stored()).deposited > earned
        await paid.ask(1)
        await until(lambda: paid.voucher(0) > earned)


@pytest.mark.spec("8.8-a")
async def test_a_worker_that_is_restarted_keeps_its_voucher(paid: Paid) -> None:
    earned = await begun(paid, workers=1)
    worker = paid.workers.pop()
    paid.net.workers.remove(worker)
    await worker.stop()
    again = await paid.add_worker()
    shown = again.worker.till.shown(paid.gateway)
    assert isinstance(shown.voucher, Voucher)
    assert int(shown.voucher.amount) == paid.voucher(0) == earned
    await paid.ask(1)
    await until(lambda: paid.voucher(0) > earned)


@pytest.mark.spec("8.3-b")
async def test_a_gateway_whose_deposit_does_not_cover_it_is_refused(paid: Paid) -> None:
    earned = await begun(paid)
    await paid.look().look()
    till = paid.workers[0].worker.till
    await until(lambda: till.limit(paid.gateway) is not None)
    deposited = (await paid.stored()).deposited
    await until(lambda: till.limit(paid.gateway) == UNSECURED_CREDIT + deposited - earned)
    dear = ASK | {"max_tokens": 2_000}
    with pytest.raises(openai.InternalServerError, match="every chosen worker is busy"):
        await paid.net.sealed().chat.completions.create(**dear)
    told = [one["sentence"] for one in paid.workers[0].worker.notices.document()]
    told += [one["sentence"] for one in paid.workers[1].worker.notices.document()]
    assert any("its requests are refused" in one for one in told)
    # The gateway sees what was wanted, and deposits twice as much.
    await paid.rounds()
    await paid.look().look()
    await until(lambda: (till.limit(paid.gateway) or 0) > deposited)
    await paid.net.sealed().chat.completions.create(**dear)


@pytest.mark.spec("8.6-a")
async def test_a_close_is_answered_with_a_claim_at_once_and_the_worker_refuses(
    paid: Paid,
) -> None:
    earned = await begun(paid)
    stored = await paid.stored()
    wallet = paid.parts.task.wallet
    await wallet.put("a lying gateway", start_close(stored.channel))
    await wallet.step()
    await wallet.step()
    (standing,) = await paid.look().look()
    assert standing.state == "closing"
    (claim,) = await paid.look().claim(paid.wallet)
    assert claim.paid == earned
    till = paid.workers[0].worker.till
    await until(lambda: till.limit(paid.gateway) == UNSECURED_CREDIT)


@pytest.mark.spec("8.7-d")
async def test_a_worker_with_another_key_than_the_channels_is_sent_no_voucher(paid: Paid) -> None:
    await begun(paid, workers=1)
    await paid.add_worker(payout_key=PAYS.public_key.hex())
    await paid.ask(4)
    stored = await paid.stored()
    await until(lambda: paid.voucher(0) > stored.vouched)
    assert paid.held(1) is None


@pytest.mark.spec("8.2-a")
async def test_bills_of_a_moment_share_one_voucher(paid: Paid) -> None:
    earned = await begun(paid, workers=1)
    before, since = await vouchers(paid), time.monotonic()
    await paid.ask(10)
    await until(lambda: paid.voucher(0) > earned)
    signed = await vouchers(paid) - before
    # However slow this machine is: one in each window, and those that a window's edge divides.
    assert signed <= 2 + (time.monotonic() - since) * 1000 / VOUCHER_EVERY_MS


async def vouchers(paid: Paid) -> int:
    async with paid.net.context.engine.connect() as connection:
        query = text("SELECT count(*) FROM ledger_entry WHERE kind = 'voucher' AND amount_nano > 0")
        return int((await connection.execute(query)).scalar_one())


async def test_a_network_without_a_chain_pays_by_the_ledger_alone(tmp_path: Path) -> None:
    async with network(tmp_path, workers=0) as net:
        assert net.context.paymaster is None
        folder = tmp_path / "state"
        folder.mkdir()
        worker = await net.add_worker(state=folder, wallet="0:" + "ab" * 32)
        await net.sealed().chat.completions.create(**ASK)
        await net.settled()
        assert not (folder / PAYOUTS_FILE).exists()
        assert worker.worker.till.limit(net.context.gateway) is None


@pytest.mark.spec("8.1-b")
@pytest.mark.parametrize("lie", ["signature", "wallet", "key", "network", "owner"])
async def test_a_worker_that_shows_what_is_not_ours_is_not_believed(paid: Paid, lie: str) -> None:
    earned = await begun(paid, workers=1)
    channel = (await paid.stored()).channel
    changes: dict[str, dict[str, Any]] = {
        "wallet": {"client": b"\x07" * 32},
        "key": {"client_key": PAYS.public_key},
        "owner": {"gateway": b"\x07" * 32},
    }
    config = dataclasses.replace(channel.config, **changes.get(lie, {}))
    other = Channel(-3 if lie == "network" else channel.network, config)
    signer = PAYS if lie in {"signature", "key"} else paid.net.context.keys.channel
    shown = voucher_of(other, Ceiling(10**12, 0, signer.sign(other.template, 10**12)))
    identify = Identify(
        keyset="{}",
        evidence="{}",
        offers=[],
        at=0,
        signature="00" * 64,
        payout_key=channel.config.gateway_key.hex(),
        voucher=shown,
        payout_channel=payout_channel_of(other),
    )
    (listed,) = paid.net.context.registry.all()
    await net_paymaster(paid).meet(listed, identify)
    assert (await paid.stored()).vouched == earned
    assert [one.id for one in await paid.payouts.alive()] == [channel.account.hex()]
