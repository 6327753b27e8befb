"""A wallet that pays by itself (`[client] pay`): opens and fills within the caps, or says why."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import openai
import pytest

from bombyx.client.channel.funder import ThreadFunder, direct_client
from bombyx.client.channel.setting import caps_of, open_wallet, root_of, side_of, terms_of
from bombyx.client.channel.wallet import Wallet, Wanted, open_payer
from bombyx.client.opening import open_session
from bombyx.client.settings import ClientSettings
from bombyx.errors import GatewayUnreachable, SetupError
from bombyx.money.channel.acceptance import ChannelRow
from tests.bombyx.client.channel.conftest import PAYER, Connect, paying_session
from tests.bombyx.client.channel.office import CAPS, DEPOSIT, ORIGIN, Office, ToyChain, wished
from tests.bombyx.client.channel.test_paying import SHORT
from tests.bombyx.client.channel.till import Till
from tests.bombyx.client.conftest import Clock, Heard
from tests.bombyx.client.peer import Peer, Received, Reply, policy
from tests.bombyx.money.channel import parties
from tests.factories import GATEWAY, hex_of
from ton.wallet.errors import OrderFailed


@pytest.fixture
def chain() -> ToyChain:
    return ToyChain()


@pytest.fixture
def office(chain: ToyChain) -> Office:
    return Office(chain)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def funder(
    root: Path, office: Office, chain: ToyChain, clock: Clock, said: list[str]
) -> ThreadFunder:
    terms = wished(root, clock=clock)
    return ThreadFunder(terms, chain.opened, say=said.append, open_client=office.client)


@pytest.fixture
def wallet(root: Path, clock: Clock, funder: ThreadFunder) -> Iterator[Wallet]:
    wallet = Wallet(root, CAPS, clock=clock, funder=funder)
    yield wallet
    wallet.close()


@pytest.fixture
def till(peer: Peer, office: Office) -> Till:
    """Serves whatever channel the office knows."""
    till = Till(row=ChannelRow())

    def served(peer: Peer, received: Received) -> Reply | None:
        for name, channel in office.known.items():
            if not till.row.deposited:
                till.channel, till.row = channel, office.rows[name]
        return till(peer, received)

    peer.instead = served
    return till


async def test_the_first_request_opens_a_channel_and_the_others_wait_for_it(
    till: Till,
    wallet: Wallet,
    chain: ToyChain,
    clock: Clock,
    heard: Heard,
    connect: Connect,
) -> None:
    sdk = connect(paying_session(clock, heard, wallet))
    answers = await asyncio.gather(*(sdk.chat.completions.create(**SHORT) for _ in range(4)))
    assert len(answers) == 4
    assert len(chain.orders) == 1
    (looked,) = chain.channels.values()
    assert looked.deposited == DEPOSIT


async def test_an_empty_channel_is_topped_up_and_the_request_goes_on(
    till: Till,
    wallet: Wallet,
    chain: ToyChain,
    office: Office,
    clock: Clock,
    heard: Heard,
    connect: Connect,
) -> None:
    sdk = connect(paying_session(clock, heard, wallet))
    await sdk.chat.completions.create(**SHORT)
    (one,) = wallet.open_for("")
    one.change(lambda purse: replace(purse, proven=purse.deposited)).result()
    till.deposit_seen = 2 * DEPOSIT
    await sdk.chat.completions.create(**SHORT)
    assert chain.channels[one.store.channel.account].deposited == 2 * DEPOSIT


async def test_what_fails_is_told_and_not_tried_again_at_once(
    till: Till,
    wallet: Wallet,
    chain: ToyChain,
    clock: Clock,
    heard: Heard,
    connect: Connect,
    peer: Peer,
) -> None:
    chain.troubles = [GatewayUnreachable("no chain here"), OrderFailed("bounced")]
    sdk = connect(paying_session(clock, heard, wallet))
    for _ in range(3):
        with pytest.raises(openai.APIStatusError, match="no chain here"):
            await sdk.chat.completions.create(**SHORT)
    assert peer.posts == []
    assert len(chain.troubles) == 1
    clock.now += 31
    with pytest.raises(openai.APIStatusError, match="bounced"):
        await sdk.chat.completions.create(**SHORT)
    clock.now += 31
    await sdk.chat.completions.create(**SHORT)


async def test_a_gateway_that_nobody_vouches_for_gets_nothing(
    till: Till,
    root: Path,
    office: Office,
    chain: ToyChain,
    clock: Clock,
    heard: Heard,
    connect: Connect,
) -> None:
    terms = wished(root, keys=(hex_of("another"),))
    funder = ThreadFunder(terms, chain.opened, say=str, open_client=office.client)
    wallet = Wallet(root, CAPS, clock=clock, funder=funder)
    with pytest.raises(openai.APIStatusError) as caught:
        await connect(paying_session(clock, heard, wallet)).chat.completions.create(**SHORT)
    assert caught.value.code == "terms_refused"
    assert chain.orders == []
    wallet.close()


async def test_an_unforeseen_failure_reaches_whoever_waits(
    till: Till, wallet: Wallet, chain: ToyChain, clock: Clock, heard: Heard, connect: Connect
) -> None:
    def broken() -> None:
        raise KeyError("inside")

    chain.hold = broken
    with pytest.raises(openai.APIStatusError, match="KeyError"):
        await connect(paying_session(clock, heard, wallet)).chat.completions.create(**SHORT)


WANTED = Wanted(GATEWAY.public_hex, PAYER, ORIGIN, "Bearer sk-test")


def test_whoever_waits_in_the_queue_at_the_close_is_told_so(
    wallet: Wallet, funder: ThreadFunder, chain: ToyChain
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        go_on.wait(5)

    chain.hold = slow
    running = funder.open(WANTED, wallet)
    assert begun.wait(5)
    waiting = [funder.open(WANTED, wallet) for _ in range(3)]
    closing = threading.Thread(target=funder.close)
    closing.start()
    for one in waiting:
        one.done.result(5)
        with pytest.raises(SetupError, match="was closed before it could pay"):
            one.result()
    go_on.set()
    closing.join(5)
    running.done.result(5)
    running.result()


def test_a_closed_funder_refuses_what_comes_later(
    wallet: Wallet, funded: Path, clock: Clock, funder: ThreadFunder
) -> None:
    payer = open_payer(funded, CAPS, clock=clock)
    wallet.keep(payer)
    funder.close()
    for late in (funder.open(WANTED, wallet), funder.top_up(payer, 1)):
        assert late.done.done()
        with pytest.raises(SetupError, match="was closed before it could pay"):
            late.result()


async def test_a_client_goes_past_proxies_to_this_machine() -> None:
    async with direct_client() as client:
        assert client.timeout.read == 30.0


def test_settings_become_caps_terms_and_folders(tmp_path: Path, clock: Clock) -> None:
    settings = ClientSettings(
        max_inflight_nano=1, max_daily_nano=2, max_deposit_nano=3, top_up_nano=10_000_000
    )
    caps = caps_of(settings)
    assert (caps.max_inflight, caps.max_daily, caps.max_deposit) == (1, 2, 3)
    paid = policy(channel_keys=[parties.GATEWAY.public_key.hex()])
    terms = terms_of(settings, paid, tmp_path, clock)
    assert terms.gateways == {parties.GATEWAY.public_key}
    assert (terms.amount, len(terms.draw(8))) == (10_000_000, 8)
    assert root_of(channel=True, state=tmp_path) == tmp_path / "channels"
    assert root_of(tmp_path / "x", None) == tmp_path / "x"


def test_paying_by_itself_needs_words_and_bombyx_ton(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(settings: ClientSettings) -> Wallet:
        return open_wallet(settings, policy(), root=tmp_path, state=tmp_path, clock=clock, say=str)

    assert opened(ClientSettings()).funder is None
    with pytest.raises(SetupError, match="mnemonic_file"):
        opened(ClientSettings(pay=True))
    wallet = opened(ClientSettings(pay=True, mnemonic_file=tmp_path / "words"))
    assert wallet.funder is not None
    wallet.close()
    monkeypatch.setitem(sys.modules, "bombyx.client.channel.ton_side", None)
    with pytest.raises(SetupError, match="bombyx-ton"):
        opened(ClientSettings(pay=True, mnemonic_file=tmp_path / "words"))


def test_a_session_pays_only_where_it_is_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOMBYX_STATE", str(tmp_path))
    settings = ClientSettings()
    assert open_session(policy(), settings=settings)._wallet is None
    paying = open_session(policy(), settings=settings, channel=True)
    assert paying._wallet is not None
    assert paying._wallet.root == tmp_path / "channels"
    with paying.paying("http://gateway"):
        assert paying._wallet.open_for("http://gateway") == []


async def test_looking_at_the_chain_needs_no_wallet(tmp_path: Path) -> None:
    opened = side_of(None, None, state=tmp_path, config=None, show=str)
    async with opened() as side:
        assert side.account == bytes(32)
