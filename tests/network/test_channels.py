"""Paying by channel over HTTP (SPEC 7.5 to 7.8, 9.2), with a chain that says what a test wants."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from msgspec import UNSET

from bombyx import canonical
from bombyx.money.channel.acceptance import ChannelRow
from bombyx.money.channel.closing import ChannelSigner
from bombyx.money.channel.documents import ChannelView, CloseAnswer, check_close_answer
from bombyx.money.channel.terms import check_new_channel, check_refusal, decode_terms
from gateway.accounts.repository import Accounts
from gateway.admin.reconcile import reconcile
from gateway.app import build_app
from gateway.channels.repository import Channels
from tests.factories import seed
from tests.network.channels import CHAIN_ID, DEPOSIT, Client, FakeChain, cost_of, fresh_salt
from tests.network.harness import CREDIT, Network, network
from tests.network.requests import error_of, http


class Paying:
    """A network and a chain."""

    def __init__(self, net: Network, chain: FakeChain) -> None:
        self.net = net
        self.chain = chain

    def client(self, **changes: Any) -> Client:
        return Client(self.net, self.chain, fresh_salt(), **changes)

    async def ready(self, **changes: Any) -> Client:
        """A client whose channel is registered."""
        made = self.client(**changes).deploy()
        answer = await made.register()
        assert answer.status_code == 200, answer.text
        return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def paying(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Paying]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("paying")
        patch.setenv("BOMBYX_STATE", str(folder / "client"))
        chain = FakeChain()
        async with network(folder, workers=1, chain=chain) as net:
            yield Paying(net, chain)
            await net.settled()
            store = net.context.store
            assert await store.uneven_channels() == []
            assert (await store.overcommitted(), await store.unposted()) == ([], [])
            assert (await store.billing_gap(), await store.ledger_sum()) == (0, 0)
            assert (await reconcile(net.context.engine)).differences == []


pytestmark = pytest.mark.asyncio(loop_scope="module")


# --- Registration ---


async def test_terms_name_what_a_client_needs_to_open_a_channel(paying: Paying) -> None:
    client = paying.client()
    answer = await client.get("/terms")
    assert answer.headers["content-type"] == "application/json"
    key = client.channel.config.gateway_key
    new = check_new_channel(
        decode_terms(answer.content),
        network=CHAIN_ID,
        gateways=frozenset({key}),
        max_deposit=DEPOSIT,
    )
    assert (new.gateway, new.min_challenge_s) == (paying.chain.account, 3_600)


async def test_a_channel_is_registered_once_it_is_on_chain(paying: Paying) -> None:
    client = paying.client()
    early = await client.register()
    assert error_of(early) == (409, "channel_not_found")
    assert early.headers["x-should-retry"] == "true"
    client.deploy()
    view = canonical.decode((await client.register()).content, ChannelView)
    assert (view.state, view.deposited_nano, view.ceiling_nano) == ("open", str(DEPOSIT), "0")
    client.contract.deposited += 5
    again = canonical.decode((await client.register()).content, ChannelView)
    assert again.deposited_nano == str(DEPOSIT + 5)
    one = await client.get(f"/{client.id}")
    assert canonical.decode(one.content, ChannelView) == again
    listed = json.loads((await client.get()).content)
    assert client.id in [entry["channel"] for entry in listed["data"]]


@pytest.mark.spec("7.5-a", "7.1-a", "7.10-a")
@pytest.mark.parametrize(
    ("config", "changes", "told"),
    [
        ({}, {"channel": "00" * 32}, (400, "channel_address")),
        ({"gateway": bytes(32)}, {}, (400, "channel_not_ours")),
        ({"gateway_key": bytes(32)}, {}, (400, "channel_not_ours")),
        ({}, {"network": "tvm:-239"}, (400, "channel_not_ours")),
        ({"challenge_period": 3_599}, {}, (400, "channel_period")),
        ({"challenge_period": 604_801}, {}, (400, "channel_period")),
        ({"client_key": bytes(32)}, {}, (400, "channel_key")),
        ({}, {"proof": "00" * 64}, (400, "voucher_forged")),
    ],
)
async def test_what_is_no_channel_of_ours_is_refused(
    paying: Paying, config: dict[str, Any], changes: dict[str, Any], told: tuple[int, str]
) -> None:
    client = paying.client(**config).deploy()
    looks = paying.chain.looks
    assert error_of(await client.register(**changes)) == told
    assert paying.chain.looks == looks


@pytest.mark.parametrize(
    ("contract", "told"),
    [
        ({"closed": True}, (402, "channel_closed")),
        ({"close_at": 2_000_000_000}, (402, "channel_closing")),
        ({"deposited": 99_999_999}, (402, "deposit_too_low")),
    ],
)
async def test_a_channel_that_cannot_pay_is_not_taken(
    paying: Paying, contract: dict[str, Any], told: tuple[int, str]
) -> None:
    client = paying.client().deploy()
    for name, value in contract.items():
        setattr(client.contract, name, value)
    assert error_of(await client.register()) == told
    assert error_of(await client.get(f"/{client.id}")) == (404, "not_found")


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"\xff", b'{"v":"x"}', b"x" * 3_000])
async def test_a_body_that_is_no_registration_is_refused(paying: Paying, body: bytes) -> None:
    assert error_of(await paying.client().post("", body)) == (400, "invalid_request")


@pytest.mark.spec("7.10-b")
async def test_a_channel_is_its_first_accounts_alone(paying: Paying) -> None:
    client = await paying.ready()
    accounts = Accounts(paying.net.context.engine)
    other = await accounts.create("other")
    _, key = await accounts.create_key(other.id, name="other")
    for answer in (
        await client.register(key=key.secret),
        await client.get(f"/{client.id}", key=key.secret),
        await client.post(f"/{client.id}/close", key=key.secret),
    ):
        assert error_of(answer)[0] in (400, 404)
    assert (await client.row()).closing is False
    assert json.loads((await client.get(key=key.secret)).content)["data"] == []


@pytest.mark.parametrize("path", ["/xyz", "/" + "A" * 64, "/" + "0" * 64, "/" + "0" * 63])
async def test_channels_that_are_not_there_are_not_found(paying: Paying, path: str) -> None:
    client = paying.client()
    assert error_of(await client.get(path)) == (404, "not_found")
    assert error_of(await client.post(f"{path}/close")) == (404, "not_found")


async def test_a_chain_that_nobody_tells_of_registers_nothing_and_says_so(paying: Paying) -> None:
    client = paying.client().deploy()
    paying.chain.is_silent = True
    try:
        answer = await client.register()
    finally:
        paying.chain.is_silent = False
    assert error_of(answer) == (502, "chain_unreachable")
    spec = build_app(paying.net.context).openapi()["paths"]["/v1/channels"]["post"]
    assert "502" in spec["responses"]
    assert (await client.register()).status_code == 200


# --- Requests ---


@pytest.mark.spec("7.6-b", "7.7-a")
async def test_a_voucher_pays_and_the_receipt_is_what_is_charged(paying: Paying) -> None:
    client, cost = await paying.ready(), await cost_of(paying.net)
    before = await paying.net.balance()
    answer = await client.ask(4 * cost)
    assert answer.status_code == 200, answer.text
    # The best voucher covers three more: they need bring none, and an old one is no error.
    assert (await client.ask()).status_code == 200
    assert (await client.ask(cost)).status_code == 200
    await paying.net.settled()
    row = await client.row()
    assert row.reserved == 0
    assert 0 < row.charged < 3 * cost
    assert row.ceiling.amount == 4 * cost
    assert await paying.net.balance() == before


async def receipts_of(net: Network) -> int:
    """Charges of all billed receipts."""
    return (await reconcile(net.context.engine)).charged_nano


@pytest.mark.spec("7.6-b", "7.8-a", "7.8-d")
async def test_a_402_says_what_is_missing_and_leaves_no_trace(paying: Paying) -> None:
    client, cost = await paying.ready(), await cost_of(paying.net)
    before = await client.row()
    for voucher, code in ((None, "voucher_required"), (cost - 1, "voucher_required")):
        answer = await client.ask(voucher)
        assert error_of(answer) == (402, code)
        assert answer.headers["x-should-retry"] == "false"
        terms = decode_terms(canonical.encode(json.loads(answer.content)["payment"]))
        said = check_refusal(terms, client.channel, cost=cost)
        assert (said.error, said.need, said.ceiling) == (code, cost, 0)
        assert await client.row() == before
    assert (await client.ask(cost)).status_code == 200
    await paying.net.settled()


@pytest.mark.spec("7.8-b")
async def test_a_402_shows_the_clients_own_signature(paying: Paying) -> None:
    client, cost = await paying.ready(), await cost_of(paying.net)
    assert (await client.ask(cost)).status_code == 200
    await paying.net.settled()
    answer = await client.ask()
    terms = decode_terms(canonical.encode(json.loads(answer.content)["payment"]))
    said = check_refusal(terms, client.channel, cost=cost)
    charged = (await client.row()).charged
    assert (said.ceiling, said.charged, said.need) == (cost, charged, charged + cost)


async def test_a_deposit_that_is_too_low_is_told_from_a_missing_voucher(paying: Paying) -> None:
    cost = await cost_of(paying.net)
    client = paying.client().deploy(100_000_000)
    await client.register()
    answer = await client.ask(10**12, max_cost_nano=str(100_000_001))
    assert error_of(answer) == (402, "deposit_too_low")
    client.contract.deposited = 10**12
    await client.register()
    assert (await client.ask(2 * cost)).status_code == 200
    await paying.net.settled()


@pytest.mark.spec("7.6-a")
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"network": "tvm:-239"}, "voucher_foreign"),
        ({"channel": "00" * 32}, "voucher_foreign"),
        ({"valid_until": 2_000_000_000}, "voucher_expires"),
        ({"signature": "00" * 64}, "voucher_forged"),
        ({"seqno": 3}, "voucher_forged"),
        ({"amount": "999999999999"}, "voucher_forged"),
    ],
)
async def test_a_bad_voucher_is_refused_with_its_code(
    paying: Paying, changes: dict[str, Any], code: str
) -> None:
    client = await paying.ready()
    before = await client.row()
    answer = await client.ask(client.voucher(10**11, **changes))
    assert error_of(answer) == (400, code)
    assert await client.row() == before


async def test_another_keys_voucher_is_forged(paying: Paying) -> None:
    client = await paying.ready()
    stranger = ChannelSigner(seed("stranger"))
    answer = await client.ask(client.voucher(10**11, stranger))
    assert error_of(answer) == (400, "voucher_forged")


@pytest.mark.parametrize(
    "value", ["x", "{}", "null", '{"v":"bombyx-voucher/1"}', "1" * 513, '{"v": "bombyx"}']
)
async def test_a_header_that_is_no_voucher_is_malformed(paying: Paying, value: str) -> None:
    client = await paying.ready()
    assert error_of(await client.ask(value)) == (400, "voucher_malformed")


async def test_a_voucher_in_another_spelling_is_malformed(paying: Paying) -> None:
    client = await paying.ready()
    spaced = client.voucher(10**11).replace(",", ", ")
    assert error_of(await client.ask(spaced)) == (400, "voucher_malformed")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("prepaid", (400, "malformed_header")),
        (f"tvm:-239:{'0' * 64}", (400, "voucher_foreign")),
        (f"tvm:{CHAIN_ID}:{'A' * 64}", (400, "malformed_header")),
        (f"tvm:{CHAIN_ID}:{'0' * 64}", (402, "payment_required")),
    ],
)
async def test_a_header_that_names_no_channel_here_is_refused(
    paying: Paying, name: str, told: tuple[int, str]
) -> None:
    answer = await paying.client().ask(1, channel=name)
    assert error_of(answer) == told
    if told[0] == 402:
        offer = json.loads(answer.content)["payment"]["accepts"][0]
        assert "books" not in offer
        assert int(offer["amount"]) == await cost_of(paying.net)


@pytest.mark.spec("7.6-d")
async def test_another_accounts_channel_pays_nothing(paying: Paying) -> None:
    client = paying.client().deploy()
    accounts = Accounts(paying.net.context.engine)
    other = await accounts.create("thief")
    await Channels(paying.net.context.engine).register(client.channel, other.id)
    assert error_of(await client.ask(10**11)) == (402, "payment_required")


async def test_a_voucher_without_a_channel_in_the_header_changes_nothing(paying: Paying) -> None:
    client = await paying.ready()
    before = await paying.net.balance()
    assert (await client.ask("nonsense", channel=UNSET)).status_code == 200
    await paying.net.settled()
    assert await client.row() == ChannelRow(deposited=DEPOSIT)
    assert await paying.net.balance() < before


async def test_twenty_clients_at_once_share_one_channel(paying: Paying) -> None:
    client, cost = await paying.ready(), await cost_of(paying.net)
    before = await receipts_of(paying.net)
    asked = [client.ask(cost * (1 + number % 10), f"count: {number}") for number in range(20)]
    answers = await asyncio.gather(*asked)
    served = [answer for answer in answers if answer.status_code == 200]
    assert 1 <= len(served) <= 20
    assert {error_of(one) for one in answers if one.status_code != 200} <= {
        (402, "voucher_required")
    }
    await paying.net.settled()
    row = await client.row()
    assert row.reserved == 0
    assert row.charged == await receipts_of(paying.net) - before
    assert row.charged <= row.ceiling.amount <= 10 * cost


async def test_a_client_that_leaves_pays_what_was_signed(paying: Paying) -> None:
    client, cost = await paying.ready(), await cost_of(paying.net)
    task = asyncio.create_task(client.ask(cost, "pace: 20\ncount: 500"))
    async with asyncio.timeout(10):
        runs = paying.net.context.runs
        while not any(run.answer and run.answer.chunks for run in runs.open_runs()):
            await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await paying.net.settled()
    row = await client.row()
    assert row.reserved == 0
    assert 0 < row.charged < cost


# --- The end ---


@pytest.mark.spec("9.2-a", "9.2-c", "9.1-c")
async def test_an_end_is_signed_once_nothing_runs(paying: Paying) -> None:
    client, cost = await paying.ready(), await cost_of(paying.net)
    running = asyncio.create_task(client.ask(2 * cost, "pace: 20\ncount: 40"))
    async with asyncio.timeout(10):
        while not (await client.row()).reserved:
            await asyncio.sleep(0.02)
    early = await client.close()
    assert error_of(early) == (409, "close_in_flight")
    assert early.headers["x-should-retry"] == "true"
    assert error_of(await client.ask()) == (402, "channel_closing")
    assert (await running).status_code == 200
    await paying.net.settled()
    answer = canonical.decode((await client.close()).content, CloseAnswer)
    terms, _ = check_close_answer(client.channel, answer)
    row = await client.row()
    assert terms.amount == row.charged > 0
    assert row.terms_until == terms.valid_until
    view = canonical.decode((await client.get(f"/{client.id}")).content, ChannelView)
    assert view.state == "closing"
    again = canonical.decode((await client.close()).content, CloseAnswer)
    assert again.amount_nano == answer.amount_nano


async def test_a_channel_that_was_to_end_is_served_again_when_it_is_registered_again(
    paying: Paying,
) -> None:
    client = await paying.ready()
    await Channels(paying.net.context.engine).close_asked(client.id)
    view = canonical.decode((await client.register()).content, ChannelView)
    assert view.state == "open"
    await client.close()
    view = canonical.decode((await client.register()).content, ChannelView)
    assert view.state == "closing"


@pytest.mark.spec("9.3-b")
async def test_an_end_of_the_gateways_is_not_taken_back_by_registering_again(
    paying: Paying,
) -> None:
    client = await paying.ready()
    assert (await client.ask(10**11)).status_code == 200
    channels = Channels(paying.net.context.engine)
    await paying.net.settled()
    await channels.end_asked(client.id, actor="boss")
    for _ in range(2):
        view = canonical.decode((await client.register()).content, ChannelView)
        assert view.state == "closing"
        assert error_of(await client.ask(10**11)) == (402, "channel_closing")
    assert (await channels.row(client.id)).row.ending
    # Without a voucher there is nothing to end it by: that is the client's to take back.
    unused = await paying.ready()
    await channels.end_asked(unused.id, actor="boss")
    view = canonical.decode((await unused.register()).content, ChannelView)
    assert view.state == "open"


async def test_what_a_look_finds_changes_the_books(paying: Paying) -> None:
    ending, gone, robbed = [await paying.ready() for _ in range(3)]
    ending.contract.close_at = 2_000_000_000
    gone.contract.closed = True
    robbed.contract.claimed = 1
    states = [
        canonical.decode((await client.register()).content, ChannelView).state
        for client in (ending, gone, robbed)
    ]
    assert states == ["closing", "closed", "halted"]
    assert error_of(await ending.ask(10**11)) == (402, "channel_closing")
    assert error_of(await gone.ask(10**11)) == (402, "channel_closed")
    halted = await robbed.ask(10**11)
    assert error_of(halted) == (503, "channel_rolled_back")
    assert "payment" not in json.loads(halted.content)
    assert error_of(await gone.close()) == (402, "channel_closed")
    assert error_of(await robbed.close()) == (503, "channel_rolled_back")
    looks = paying.chain.looks
    assert (await gone.register()).status_code == 200
    assert paying.chain.looks == looks


# --- Prepaid accounts beside them ---


@pytest.mark.spec("7.8-d")
async def test_a_prepaid_refusal_offers_a_channel_where_there_is_a_chain(paying: Paying) -> None:
    client, net = paying.client(), paying.net
    accounts = Accounts(net.context.engine)
    poor = await accounts.create("poor")
    _, key = await accounts.create_key(poor.id, name="poor")
    listed = await client.get("/terms", key=key.secret)
    assert listed.status_code == 200
    rich, net.api_key = net.api_key, key.secret
    account, net.account = net.account, poor.id
    try:
        answer = await client.ask(channel=UNSET)
    finally:
        net.api_key, net.account = rich, account
    assert error_of(answer) == (402, "insufficient_quota")
    terms = json.loads(answer.content)["payment"]
    assert terms["error"] == "insufficient_quota"
    assert terms["accepts"][0]["pay_to"] == paying.chain.account.hex()


async def test_an_account_without_credit_pays_by_channel_alone(paying: Paying) -> None:
    net = paying.net
    accounts = Accounts(net.context.engine)
    broke = await accounts.create("broke")
    _, key = await accounts.create_key(broke.id, name="broke")
    rich = net.api_key, net.account
    net.api_key, net.account = key.secret, broke.id
    try:
        client, cost = await paying.ready(), await cost_of(net)
        assert (await client.ask(cost)).status_code == 200
        # What no worker was asked to run is closed with a note, as for anybody else.
        waived = await client.ask(2 * cost, fee_bps=1)
        assert error_of(waived) == (422, "wrong_fee")
        assert waived.json()["lost"]["lost"]["c"]
        await net.settled()
        assert (await client.row()).charged > 0
        assert await net.balance() == 0
    finally:
        net.api_key, net.account = rich


async def test_without_a_chain_channels_are_refused_and_nothing_is_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOMBYX_STATE", str(tmp_path / "client"))
    async with network(tmp_path, workers=1) as net:
        client = Client(net, FakeChain()).deploy()
        assert error_of(await client.get("/terms")) == (404, "not_found")
        assert error_of(await client.register()) == (404, "not_found")
        assert error_of(await client.get()) == (404, "not_found")
        answer = await client.ask(1)
        assert error_of(answer) == (402, "payment_required")
        assert "payment" not in json.loads(answer.content)
        assert await net.balance() == CREDIT
        async with http() as plain:
            assert (await plain.get(net.url + "/v1/channels")).status_code == 401
