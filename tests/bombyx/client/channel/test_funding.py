"""Opening, filling and ending a channel: money leaves only where it may, and once (SPEC 7.8, 9)."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from bombyx.client.channel import ending, funding
from bombyx.client.channel.gateway import GatewayRoutes
from bombyx.client.channel.marks import CLOSED, UNREGISTERED, clear_mark, is_marked, set_mark
from bombyx.client.channel.payer import Payer
from bombyx.client.channel.store import read_purse, read_record
from bombyx.client.channel.wallet import channel_folders, open_payer
from bombyx.errors import (
    BadAnswer,
    BombyxError,
    ChannelClosed,
    ChannelClosing,
    CloseTermsRefused,
    DepositCap,
    GatewayUnreachable,
    PaymentRefused,
    SetupError,
    TermsRefused,
    TopUpRefused,
    Unauthenticated,
)
from bombyx.money.channel import spending
from bombyx.money.channel.acceptance import ChannelRow
from bombyx.money.channel.spending import Caps
from bombyx.money.channel.terms import Ceiling, PaymentTerms
from tests.bombyx.client.channel.conftest import PAYER, lay_down
from tests.bombyx.client.channel.office import (
    CAPS,
    DEPOSIT,
    Office,
    ToyChain,
    wished,
)
from tests.bombyx.client.peer import policy
from tests.factories import GATEWAY, NOW, hex_of
from ton.wallet.errors import OrderFailed, WalletShort

IDENTITY = GATEWAY.public_hex


@pytest.fixture
def chain() -> ToyChain:
    return ToyChain()


@pytest.fixture
def office(chain: ToyChain) -> Office:
    return Office(chain)


@pytest.fixture
def said() -> list[str]:
    return []


Open = Callable[..., Any]


@pytest.fixture
def opening(root: Path, office: Office, chain: ToyChain, said: list[str]) -> Open:
    async def opened(**changes: Any) -> Payer:
        async with office.routes() as routes:
            return await funding.open_channel(
                routes,
                chain,
                wished(root, **changes),
                identity=IDENTITY,
                payer=PAYER,
                say=said.append,
            )

    return opened


async def test_a_channel_is_opened_funded_and_registered(
    opening: Open, office: Office, chain: ToyChain
) -> None:
    office.blind = 2
    one = await opening()
    assert one.purse.deposited == DEPOSIT
    assert one.purse.topping_up == 0
    assert office.rows[one.store.name].deposited == DEPOSIT
    assert one.store.channel.config.client == chain.account
    one.close()


async def test_key_and_books_are_on_disk_before_money_leaves(
    opening: Open, chain: ToyChain, root: Path
) -> None:
    found: list[int] = []

    def look() -> None:
        (folder,) = channel_folders(root)
        assert (folder / "session.key").stat().st_mode & 0o077 == 0
        found.append(read_purse(folder, read_record(folder)).topping_up)

    chain.hold = look
    (await opening()).close()
    assert found == [DEPOSIT]


async def test_each_channel_has_a_salt_and_a_key_of_its_own(
    root: Path, opening: Open, office: Office, chain: ToyChain
) -> None:
    one = await opening()
    other = await opening(draw=lambda size: bytes(range(size)))
    assert one.store.channel.config.salt != other.store.channel.config.salt
    assert one.store.channel.config.client_key != other.store.channel.config.client_key
    one.close()
    other.close()


async def test_a_crash_while_opening_is_taken_up_again_and_pays_once(
    opening: Open, chain: ToyChain, root: Path
) -> None:
    chain.troubles = [GatewayUnreachable("no chain")]
    with pytest.raises(GatewayUnreachable):
        await opening()
    open_payer(channel_folders(root)[0], CAPS, clock=lambda: NOW).close()
    one = await opening()
    assert len(channel_folders(root)) == 1
    assert chain.channels[one.store.channel.account].deposited == DEPOSIT
    one.close()


async def test_money_that_came_back_is_no_more_on_its_way(opening: Open, chain: ToyChain) -> None:
    chain.troubles = [OrderFailed("bounced")]
    with pytest.raises(OrderFailed):
        await opening()
    one = await opening()
    assert one.purse.deposited == DEPOSIT
    one.close()


@pytest.mark.spec("7.8-c")
async def test_nobody_is_paid_whom_the_policy_does_not_name(opening: Open, chain: ToyChain) -> None:
    with pytest.raises(TermsRefused, match="names no channel key"):
        await opening(keys=())
    with pytest.raises(TermsRefused, match="nobody vouches"):
        await opening(keys=(hex_of("somebody"),))
    assert chain.orders == []


LIES: list[tuple[str, dict[str, Any]]] = [
    ("another contract", {"code": hex_of("code")}),
    ("another network", {"network": "tvm:-3"}),
    ("a period of months", {"min_challenge_s": 9_999_999}),
    ("all our money", {"min_deposit": str(10**12)}),
]


@pytest.mark.spec("7.8-c")
@pytest.mark.parametrize("lie", [one for _, one in LIES], ids=[name for name, _ in LIES])
async def test_terms_that_are_refused_cost_nothing(
    opening: Open, office: Office, chain: ToyChain, root: Path, lie: dict[str, Any]
) -> None:
    def changed(terms: PaymentTerms) -> PaymentTerms:
        offers = [msgspec.structs.replace(terms.accepts[0], **lie)]
        return msgspec.structs.replace(terms, accepts=offers)

    office.terms = changed
    with pytest.raises(TermsRefused):
        await opening()
    assert chain.orders == []
    assert channel_folders(root) == []


async def test_all_channels_to_a_gateway_stay_within_the_deposit_cap(
    opening: Open, chain: ToyChain
) -> None:
    caps = Caps(max_inflight=1, max_daily=1, max_deposit=DEPOSIT + 20_000_000)
    one = await opening(caps=caps)
    other = await opening(caps=caps)
    assert other.purse.deposited == 20_000_000
    with pytest.raises(DepositCap):
        await opening(caps=caps)
    assert len(chain.orders) == 2
    one.close()
    other.close()


@pytest.mark.spec("7.9-g")
async def test_a_top_up_stays_within_the_cap_and_counts_what_is_on_its_way(
    opening: Open, chain: ToyChain, root: Path, said: list[str]
) -> None:
    one = await opening()
    terms = wished(root)
    chain.troubles = [GatewayUnreachable("no chain")]
    with pytest.raises(GatewayUnreachable):
        await funding.top_up_by(one, chain, terms, 30_000_000, say=said.append)
    assert one.purse.topping_up == 30_000_000
    sent = await funding.top_up(one, chain, terms, cost=1, wanted=1, say=said.append)
    assert sent == 30_000_000
    assert one.purse.deposited == DEPOSIT + 30_000_000
    assert await funding.top_up(one, chain, terms, cost=1, wanted=1, say=said.append) == 0
    with pytest.raises(DepositCap):
        await funding.top_up_by(one, chain, terms, 10**9, say=said.append)
    foreign = wished(root, keys=(hex_of("somebody"),))
    with pytest.raises(TopUpRefused):
        await funding.top_up_by(one, chain, foreign, 10**7, say=said.append)
    one.close()


async def test_a_wallet_of_another_network_sends_nothing(opening: Open, root: Path) -> None:
    one = await opening()
    elsewhere = ToyChain(network=-3)
    elsewhere.channels = {one.store.channel.account: await _seen(one)}
    with pytest.raises(TopUpRefused):
        await funding.top_up_by(one, elsewhere, wished(root), 10**7, say=str)
    assert elsewhere.orders == []
    one.close()


async def _seen(one: Payer) -> Any:
    chain = ToyChain()
    await chain.deposit(one.store.channel, DEPOSIT, order="x")
    return chain.channels[one.store.channel.account]


async def test_a_deposit_that_the_chain_does_not_show_is_not_believed(
    opening: Open, chain: ToyChain
) -> None:
    async def lost(*_: Any, **__: Any) -> None:
        return

    chain.deposit = lost  # type: ignore[method-assign]
    with pytest.raises(BombyxError, match="does not show it"):
        await opening()


async def test_a_gateway_that_never_sees_the_deposit_is_reported(
    opening: Open, office: Office
) -> None:
    office.blind = 10**6
    with pytest.raises(TermsRefused, match="does not see the deposit"):
        await opening()


async def test_a_channel_whose_registration_failed_is_finished_and_not_paid_twice(
    opening: Open, office: Office, chain: ToyChain, root: Path, said: list[str]
) -> None:
    office.blind = 10**6
    with pytest.raises(TermsRefused):
        await opening()
    (folder,) = channel_folders(root)
    assert is_marked(folder, UNREGISTERED)
    office.blind = 0
    one = await opening()
    assert one.store.folder == folder
    assert not is_marked(folder, UNREGISTERED)
    assert len(chain.orders) == 1
    assert any("was begun before" in sentence for sentence in said)
    one.close()
    # Finished is finished: the next one is another.
    other = await opening()
    assert other.store.folder != folder
    other.close()


async def test_a_folder_of_before_the_mark_counts_as_registered(
    opening: Open, office: Office, root: Path
) -> None:
    office.blind = 10**6
    with pytest.raises(TermsRefused):
        await opening()
    (folder,) = channel_folders(root)
    clear_mark(folder, UNREGISTERED)
    office.blind = 0
    one = await opening()
    assert one.store.folder != folder
    one.close()


async def test_a_halted_channel_is_not_taken_up_again(
    opening: Open, office: Office, root: Path
) -> None:
    office.blind = 10**6
    with pytest.raises(TermsRefused):
        await opening()
    (folder,) = channel_folders(root)
    halted = open_payer(folder, CAPS, clock=lambda: NOW)
    halted.change(lambda purse: spending.halted(purse, "gateway_lied")).result()
    halted.close()
    office.blind = 0
    one = await opening()
    assert one.store.folder != folder
    one.close()


def named(amount: int) -> dict[str, Any]:
    """Somebody says --amount-nano."""
    return {"amount": amount, "is_asked": True}


async def test_a_first_deposit_that_is_queued_is_no_other_amount(
    opening: Open, chain: ToyChain
) -> None:
    chain.troubles = [WalletShort("the wallet lacks 5 nano"), WalletShort("still")]
    with pytest.raises(WalletShort, match=rf"lacks 5 nano\. The deposit of {DEPOSIT} nano stays"):
        await opening(**named(DEPOSIT))
    with pytest.raises(TopUpRefused, match=f"{DEPOSIT} nano are queued"):
        await opening(**named(20_000_000))
    assert len(chain.troubles) == 1
    with pytest.raises(WalletShort, match="sent once the wallet has money"):
        await opening(**named(DEPOSIT))
    one = await opening(amount=20_000_000)
    assert one.purse.deposited == DEPOSIT
    assert len(chain.orders) == 1
    one.close()


async def test_an_amount_below_the_least_asks_for_the_least_each_time(
    opening: Open, chain: ToyChain
) -> None:
    chain.troubles = [WalletShort("lacks")]
    with pytest.raises(WalletShort, match="10000000 nano stays queued"):
        await opening(**named(1))
    one = await opening(**named(1))
    assert one.purse.deposited == 10_000_000
    one.close()


async def test_a_top_up_that_is_queued_is_no_other_amount(
    opening: Open, chain: ToyChain, root: Path
) -> None:
    one, terms = await opening(), wished(root)
    chain.troubles = [WalletShort("lacks")]
    with pytest.raises(WalletShort, match="30000000 nano stays queued"):
        await funding.top_up_by(one, chain, terms, 30_000_000, say=str)
    for other in (20_000_000, 40_000_000):
        with pytest.raises(TopUpRefused, match="30000000 nano are queued"):
            await funding.top_up_by(one, chain, terms, other, say=str)
    assert one.purse.topping_up == 30_000_000
    assert await funding.top_up_by(one, chain, terms, None, say=str) == 30_000_000
    assert await funding.top_up_by(one, chain, terms, None, say=str) == terms.amount
    assert one.purse.deposited == 2 * DEPOSIT + 30_000_000
    one.close()


async def test_a_request_that_needs_more_waits_for_what_is_queued_and_adds_the_rest(
    opening: Open, chain: ToyChain, root: Path
) -> None:
    one, terms = await opening(), wished(root)
    chain.troubles = [WalletShort("lacks")]
    with pytest.raises(WalletShort):
        await funding.top_up_by(one, chain, terms, 30_000_000, say=str)
    cost = DEPOSIT + 70_000_000
    assert await funding.top_up(one, chain, terms, cost=cost, wanted=1, say=str) == 70_000_000
    name = one.store.name
    assert chain.orders[1:] == [
        f"deposit {name} to {DEPOSIT + 30_000_000}",
        f"deposit {name} to {DEPOSIT + 70_000_000}",
    ]
    one.close()


async def test_what_is_queued_is_not_sent_to_a_channel_that_closes(
    opening: Open, chain: ToyChain, root: Path
) -> None:
    one, terms = await opening(), wished(root)
    chain.troubles = [WalletShort("lacks")]
    with pytest.raises(WalletShort):
        await funding.top_up_by(one, chain, terms, 30_000_000, say=str)
    await chain.start_close(one.store.channel, order="by hand")
    for amount in (None, 30_000_000):
        with pytest.raises(ChannelClosing):
            await funding.top_up_by(one, chain, terms, amount, say=str)
    assert not any(order.endswith(str(DEPOSIT + 30_000_000)) for order in chain.orders)
    one.close()


@pytest.mark.parametrize("broken", ["channel.json", "books.json"])
async def test_no_channel_is_opened_beside_one_that_cannot_be_counted(
    opening: Open, chain: ToyChain, broken: str
) -> None:
    one = await opening()
    one.close()
    (one.store.folder / broken).write_bytes(b"{")
    with pytest.raises(SetupError, match="cannot be counted"):
        await opening()
    assert len(chain.orders) == 1


async def test_a_broken_channel_of_another_gateway_or_a_closed_one_is_not_counted(
    opening: Open, root: Path, office: Office
) -> None:
    foreign = lay_down(root, identity=hex_of("another gateway"))
    (foreign / "books.json").write_bytes(b"{")
    one = await opening()
    set_mark(one.store.folder, CLOSED)
    one.close()
    (one.store.folder / "books.json").write_bytes(b"{")
    other = await opening()
    assert other.store.folder != one.store.folder
    other.close()


async def test_a_channel_closes_as_both_sign(
    opening: Open, office: Office, chain: ToyChain, said: list[str]
) -> None:
    one = await opening()
    office.busy = 2
    async with office.routes() as routes:
        ended = await ending.close_together(one, routes, chain, say=said.append, pause=0.0)
        assert (ended.how, ended.claimed, ended.refunded) == ("cooperative", 0, DEPOSIT)
        assert one.purse.closing
        assert is_marked(one.store.folder, CLOSED)
        with pytest.raises(ChannelClosed):
            await ending.close_together(one, routes, chain, say=said.append, pause=0.0)
    one.close()


@pytest.mark.spec("9.2-d")
async def test_nothing_beyond_the_receipts_is_signed_away(
    opening: Open, office: Office, chain: ToyChain
) -> None:
    one = await opening()
    row = ChannelRow(deposited=DEPOSIT)
    office.rows[one.store.name] = _charged(row, 1_000)
    async with office.routes() as routes:
        with pytest.raises(CloseTermsRefused):
            await ending.close_together(one, routes, chain, say=str, pause=0.0)
    assert not any(order.startswith("close") for order in chain.orders)
    one.close()


def _charged(row: ChannelRow, charge: int) -> ChannelRow:
    return dataclasses.replace(row, ceiling=Ceiling(charge, 0, b""), charged=charge)


async def test_requests_that_still_run_keep_a_channel_from_closing_together(
    opening: Open, office: Office, chain: ToyChain
) -> None:
    one = await opening()
    office.busy = 10**6
    async with office.routes() as routes:
        with pytest.raises(CloseTermsRefused, match="--alone"):
            await ending.close_together(one, routes, chain, say=str, pause=0.0)
    one.close()


async def test_a_close_asks_for_receipts_that_are_missing(
    opening: Open, office: Office, chain: ToyChain
) -> None:
    one = await opening(amount=20_000_000)
    assert funding.with_amount(wished(one.store.folder), 7).amount == 7
    flight = spending.Flight(5, NOW - 1, 0)
    one.change(lambda purse: dataclasses.replace(purse, inflight={bytes(32): flight}))
    async with office.routes() as routes:
        ended = await ending.close_together(one, routes, chain, say=str, pause=0.0)
        assert ended.refunded == 20_000_000
        row = office.rows[one.store.name]
        office.rows[one.store.name] = dataclasses.replace(row, closed=True)
        with pytest.raises(ChannelClosed):
            await routes.close(one.store.name)
    one.close()


@pytest.mark.spec("9.1-b")
async def test_the_client_alone_gets_the_rest_back(
    opening: Open, office: Office, chain: ToyChain
) -> None:
    one = await opening()
    office.down = True
    with pytest.raises(SetupError, match="nobody is closing"):
        await ending.withdraw(one, chain, say=str)
    started = await ending.close_alone(one, chain, say=str)
    assert (started.how, started.close_at) == ("started", NOW + 3_600)
    assert not is_marked(one.store.folder, CLOSED)
    again = await ending.close_alone(one, chain, say=str)
    assert again == started
    with pytest.raises(SetupError, match="challenge period ends"):
        await ending.withdraw(one, chain, say=str)
    chain.now += 3_600
    ended = await ending.withdraw(one, chain, say=str)
    assert (ended.how, ended.refunded) == ("closed", DEPOSIT)
    assert is_marked(one.store.folder, CLOSED)
    one.close()


async def test_a_channel_without_a_deposit_has_nothing_to_close(
    opening: Open, chain: ToyChain
) -> None:
    one = await opening()
    chain.channels.clear()
    with pytest.raises(SetupError, match="nothing was deposited"):
        await ending.close_alone(one, chain, say=str)
    one.close()


async def test_a_close_on_chain_is_noticed(opening: Open, chain: ToyChain) -> None:
    one = await opening()
    await chain.start_close(one.store.channel, order="by hand")
    await funding.refresh(one, chain)
    assert one.purse.closing
    assert not is_marked(one.store.folder, CLOSED)
    await chain.finish_close(one.store.channel, order="by hand too")
    await funding.refresh(one, chain)
    assert is_marked(one.store.folder, CLOSED)
    assert spending.overdue(one.purse, now=NOW) == []
    one.close()


async def test_a_gateways_words_are_read_with_care(office: Office) -> None:
    async with office.routes() as routes:
        assert await routes.identity(policy()) == IDENTITY
        assert await routes.view("00" * 32) is None
        assert await routes.receipt(bytes(32)) is None
        office.receipts["00" * 32] = b'{"a":1}'
        assert await routes.receipt(bytes(32)) == b'{"a":1}'
        with pytest.raises(PaymentRefused, match="not_found"):
            await routes.close("00" * 32)
        office.down = True
        with pytest.raises(GatewayUnreachable):
            await routes.terms()


async def test_a_wrong_key_is_told_as_such_and_not_as_a_payment() -> None:
    body = b'{"error":{"message":"unknown key","code":"invalid_api_key"}}'
    transport = httpx2.MockTransport(lambda _: httpx2.Response(401, content=body))
    async with httpx2.AsyncClient(transport=transport) as client:
        routes = GatewayRoutes(client, origin="http://g.test", authorization="Bearer x")
        for asked in (routes.terms(), routes.view("00" * 32), routes.identity(policy())):
            with pytest.raises(Unauthenticated, match="unknown key"):
                await asked


@pytest.mark.parametrize("body", [b"", b"[]", b'{"error":7}', b"\xff" * 70_000])
async def test_nonsense_is_refused(body: bytes) -> None:
    for status in (200, 500):
        transport = httpx2.MockTransport(
            lambda _, status=status: httpx2.Response(status, content=body)
        )
        async with httpx2.AsyncClient(transport=transport) as client:
            routes = GatewayRoutes(client, origin="http://g.test", authorization="Bearer x")
            for asked in (routes.terms(), routes.view("00" * 32), routes.identity(policy())):
                with pytest.raises((BadAnswer, PaymentRefused, BombyxError)):
                    await asked
