"""The same on a real chain (the devnet's TVM, in this process): wallets, links, their effects."""

import base64
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from pytoniq_core import Address, Cell

from bombyx.client.channel import ending, funding
from bombyx.client.channel.payer import Payer
from bombyx.client.channel.ton_side import (
    LinkSide,
    WalletSide,
    open_ton_side,
    parse_account,
    transfer_link,
)
from bombyx.errors import SetupError
from bombyx.money.channel.identity import Channel
from bombyx.money.channel.terms import PaymentTerms
from tests.bombyx.client.channel.chain_fixtures import (
    chain,
    devnet,
    devnet_tvm,
    flaky,
    node_modules,
    outbox,
    rich,
    wall,
)
from tests.bombyx.client.channel.conftest import PAYER
from tests.bombyx.client.channel.office import DEPOSIT, Office, wished
from tests.bombyx.money.channel import parties
from tests.factories import GATEWAY, seed
from tests.ton.devnet.fixtures import Wall
from tests.ton.wallet.fixtures import OWN, SOMEBODY, Flaky
from ton.chain.agreed import AgreedChain
from ton.chain.errors import NotSeen
from ton.channels.orders import open_message
from ton.codec.cells import parse_boc
from ton.settings import TonSettings
from ton.wallet.errors import OrderFailed, WalletShort
from ton.wallet.outgoing import Outgoing
from ton.wallet.wallet import Wallet

__all__ = ["chain", "devnet", "devnet_tvm", "flaky", "node_modules", "outbox", "rich", "wall"]


@pytest.fixture
def side(chain: AgreedChain, rich: Wallet) -> WalletSide:
    return WalletSide(chain, rich)


async def opened(root: Path, side: WalletSide | LinkSide) -> tuple[Payer, Office]:
    office = Office(side)
    network = f"tvm:{side.network}"
    office.terms = lambda terms: _on(terms, network)
    async with office.routes() as routes:
        one = await funding.open_channel(
            routes,
            side,
            wished(root),
            identity=GATEWAY.public_hex,
            payer=PAYER,
            say=str,
        )
    return one, office


def _on(terms: PaymentTerms, network: str) -> PaymentTerms:
    return msgspec.structs.replace(
        terms, accepts=[msgspec.structs.replace(terms.accepts[0], network=network)]
    )


async def test_a_wallet_opens_fills_and_closes_a_channel(root: Path, side: WalletSide) -> None:
    one, office = await opened(root, side)
    assert one.store.channel.config.client == bytes(OWN.hash_part)
    assert one.purse.deposited == DEPOSIT
    await funding.top_up_by(one, side, wished(root), 20_000_000, say=str)
    assert one.purse.deposited == DEPOSIT + 20_000_000
    looked = await side.look(one.store.channel)
    assert looked is not None
    office.now = looked.at
    one._clock = lambda: looked.at
    async with office.routes() as routes:
        ended = await ending.close_together(one, routes, side, say=str, pause=0.0)
    assert ended.refunded == DEPOSIT + 20_000_000
    kinds = [event["kind"] for event in await side.history(one.store.channel)]
    assert kinds == ["top_up", "top_up", "coop_close"]
    one.close()


@pytest.mark.spec("9.1-b")
async def test_a_wallet_ends_a_channel_alone(root: Path, side: WalletSide, wall: Wall) -> None:
    one, _ = await opened(root, side)
    started = await ending.close_alone(one, side, say=str)
    assert started.close_at > 0
    with pytest.raises(SetupError, match="challenge period"):
        await ending.withdraw(one, side, say=str)
    wall.at += 3_700
    ended = await ending.withdraw(one, side, say=str)
    assert (ended.how, ended.refunded) == ("closed", DEPOSIT)
    one.close()


async def test_a_lost_message_is_taken_up_again_and_pays_once(
    root: Path, side: WalletSide, flaky: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bombyx.client.channel.ton_side.SECONDS", 0.05)
    flaky.loses = True
    with pytest.raises(NotSeen):
        await opened(root, side)
    flaky.loses = False
    side._wallet._sent = b"", 0
    monkeypatch.setattr("bombyx.client.channel.ton_side.SECONDS", 10.0)
    one, _ = await opened(root, side)
    assert one.purse.deposited == DEPOSIT
    assert len(await side.history(one.store.channel)) == 1
    one.close()


async def test_a_poor_wallet_says_what_it_lacks(
    root: Path, chain: AgreedChain, rich: Wallet
) -> None:
    poor = WalletSide(chain, rich)
    await rich.put("all of it", Outgoing(SOMEBODY, 99_960_000_000, bounce=False))
    await rich.settle("all of it", seconds=5)
    with pytest.raises(WalletShort, match="lacks"):
        await opened(root, poor)


async def test_what_the_channel_refuses_is_an_error(root: Path, side: WalletSide) -> None:
    one, _ = await opened(root, side)
    with pytest.raises(OrderFailed, match=r"bounced|exit code"):
        await side.finish_close(one.store.channel, order="too early")
    one.close()


async def test_an_order_that_came_to_nothing_gets_another_name(
    root: Path, side: WalletSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ton.wallet.wallet.MAX_ATTEMPTS", 2)
    one, _ = await opened(root, side)
    for why in ("bounced|exit code", "bounced|exit code", "failed 2 times"):
        with pytest.raises(OrderFailed, match=why):
            await side.finish_close(one.store.channel, order="too early")
        # The wallet hears of the bounce when it looks again.
        await side._wallet.step()
    one.close()


async def test_a_link_opens_a_channel_from_a_wallet_elsewhere(
    root: Path, chain: AgreedChain, rich: Wallet
) -> None:
    links: list[str] = []
    side = LinkSide(chain, bytes(OWN.hash_part), links.append, poll=0.01, seconds=0.05)
    with pytest.raises(NotSeen):
        await opened(root, side)
    await rich.put("by phone", _followed(links[0]))
    await rich.settle("by phone", seconds=5)
    one, _ = await opened(root, side)
    assert one.purse.deposited == DEPOSIT
    one.close()


def _followed(link: str) -> Outgoing:
    """What a wallet makes of a link."""
    parts = urlsplit(link)
    assert (parts.scheme, parts.netloc) == ("ton", "transfer")
    fields = {name: values[0] for name, values in parse_qs(parts.query).items()}
    cells: dict[str, Cell] = {
        name: parse_boc(base64.urlsafe_b64decode(fields[name]))
        for name in ("bin", "init")
        if name in fields
    }
    to = Address(parts.path.removeprefix("/"))
    return Outgoing(to, int(fields["amount"]), cells.get("bin"), cells.get("init"))


def test_a_link_says_exactly_what_is_sent() -> None:
    channel = Channel(parties.NETWORK, parties.config())
    message = open_message(channel, 10**9)
    read = _followed(transfer_link(message))
    assert read.cell(OWN).hash == message.cell(OWN).hash
    plain = Outgoing(SOMEBODY, 5)
    assert parse_qs(urlsplit(transfer_link(plain)).query) == {"amount": ["5"]}


def test_addresses_are_read_in_every_spelling() -> None:
    account = bytes(OWN.hash_part)
    assert parse_account(OWN.to_str()) == account
    assert parse_account(f"0:{account.hex()}") == account
    for wrong in ("", "0:12", "x" * 48, f"-1:{account.hex()}"):
        with pytest.raises(SetupError):
            parse_account(wrong)


async def test_a_side_is_opened_with_words_an_address_or_neither(tmp_path: Path) -> None:
    words = tmp_path / "words"
    words.write_text(seed("wallet").hex())
    words.chmod(0o600)
    settings, outbox = TonSettings(), tmp_path / "wallet"
    for key_file, account in ((words, None), (None, f"0:{bytes(32).hex()}"), (None, None)):
        async with open_ton_side(
            settings, key_file=key_file, account=account, outbox=outbox, show=str
        ) as side:
            assert side.network == settings.network
            assert len(side.account) == 32
