"""Whether a gateway has a chain, and what it offers over HTTP when it has one."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import httpx2
import pytest

from bombyx.attestation.policy import Policy
from bombyx.errors import SetupError
from gateway.accounts.repository import Accounts
from gateway.app import build_app, open_context
from gateway.channels import connecting
from gateway.channels.connecting import connected, watched
from gateway.channels.repository import Channels
from gateway.context import Context
from gateway.database import upgrade
from gateway.settings import GatewaySettings
from tests.gateway.metering.samples import execute
from tests.ton.channels.parties import Parties, wallet_on
from tests.ton.comments import comment
from ton.chain.agreed import AgreedChain
from ton.channels import orders
from ton.codec.cells import parse_address, raw
from ton.devnet.chain import Devnet
from ton.devnet.process import Running
from ton.settings import DEVNET
from ton.wallet.outgoing import Outgoing

GRAM = 10**9


async def has_chain(state: Path, chain: Literal["auto", "ton", "none"]) -> bool:
    async with connected(GatewaySettings(chain=chain), state=state) as connection:
        return connection is not None


@pytest.fixture
def at_devnet(running: Running, monkeypatch: pytest.MonkeyPatch) -> Running:
    monkeypatch.setenv("BOMBYX_TON_PROVIDERS", json.dumps([f"{running.url}/api/v2"]))
    monkeypatch.setenv("BOMBYX_TON_REQUESTS_PER_SECOND", "1000")
    return running


async def test_without_providers_there_is_a_chain_only_where_it_is_demanded(tmp_path: Path) -> None:
    assert not await has_chain(tmp_path, "auto")
    assert not await has_chain(tmp_path, "none")
    assert not (tmp_path / "gateway").exists()
    assert await has_chain(tmp_path, "ton")


async def test_with_providers_there_is_one_unless_it_is_forbidden(
    tmp_path: Path, at_devnet: Running
) -> None:
    assert await has_chain(tmp_path, "auto")
    assert (tmp_path / "gateway" / "wallet.key").stat().st_mode & 0o777 == 0o600
    assert not await has_chain(tmp_path, "none")


async def test_a_gateway_without_the_wheel_of_payments_runs_and_says_what_lacks(
    tmp_path: Path, at_devnet: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "WANTED", ("ton", "no_such_library"))
    assert not await has_chain(tmp_path, "none")
    for chain in ("auto", "ton"):  # whoever names providers wants one
        with pytest.raises(SetupError, match="pip install bombyx-ton"):
            await has_chain(tmp_path, chain)
    monkeypatch.setenv("BOMBYX_TON_PROVIDERS", "[ ]")
    assert not await has_chain(tmp_path, "auto")
    with pytest.raises(SetupError, match="pip install bombyx-ton"):
        await has_chain(tmp_path, "ton")


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("", False),
        ("[gateway]\nport = 1\n", False),
        ("[ton]\nnetwork = -3\nproviders = []\n", False),
        ('[ton]\nnetwork = -3\nproviders = ["https://toncenter.com/api/v2"]\n', True),
        ("[ton\n", True),
    ],
)
async def test_providers_in_the_file_want_the_wheel_of_payments_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, wanted: bool
) -> None:
    monkeypatch.setattr(connecting, "WANTED", ("no_such_library",))
    file = tmp_path / "bombyx.toml"
    file.write_text(written)
    monkeypatch.setenv("BOMBYX_CONFIG", str(file))
    if wanted:
        with pytest.raises(SetupError, match=r"bombyx-ton|bombyx\.toml: cannot be read"):
            await has_chain(tmp_path, "auto")
    else:
        assert not await has_chain(tmp_path, "auto")


@contextlib.asynccontextmanager
async def serving(
    state: Path, database_url: str = "", **settings: Any
) -> AsyncIterator[tuple[Context, httpx2.AsyncClient]]:
    url = database_url or f"sqlite:///{state / 'gateway.db'}"
    await upgrade(url)
    chosen = GatewaySettings(database_url=url, chain_every_s=1, **settings)
    async with (
        connected(chosen, state=state) as connection,
        open_context(
            chosen,
            state=state,
            policy=Policy(1, "local"),
            link_url="ws://127.0.0.1/",
            chain=None if connection is None else connection.side,
        ) as context,
        watched(context, connection),
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(build_app(context)), base_url="http://gateway"
        ) as http,
    ):
        yield context, http


async def until(done: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(8):
        while not await done():
            await asyncio.sleep(0.05)


def told_of(context: Context, method: str, path: str) -> set[int]:
    """The statuses that the document names for an operation."""
    spec = build_app(context).openapi()["paths"]
    return {int(status) for status in spec[path][method]["responses"]}


async def test_money_comes_in_and_goes_out_over_http(
    tmp_path: Path, at_devnet: Running, devnet: Devnet, chain: AgreedChain
) -> None:
    async with serving(tmp_path) as (context, http):
        accounts = Accounts(context.engine)
        alice = (await accounts.create("alice")).id
        key = {"authorization": f"Bearer {(await accounts.create_key(alice, name='k'))[1].secret}"}
        boss = (await accounts.create_key(alice, name="b", scope="admin"))[1].secret
        where = (await http.get("/v1/deposits/address", headers=key)).json()
        assert where["comment"] == alice
        assert where["network"] == f"tvm:{DEVNET}"

        async def began() -> bool:
            task = context.watch
            assert task is not None
            return await task.outbox.read_until("deposits") is not None  # type: ignore[attr-defined]

        await until(began)
        payer = wallet_on(chain, "payer")
        devnet.give(payer.address, 10 * GRAM)
        to = parse_address(where["address"])
        await payer.put("1", Outgoing(to, 3 * GRAM, comment(alice), bounce=False))
        await payer.settle("1", seconds=20)

        async def booked() -> bool:
            return await accounts.balance(alice) == 3 * GRAM

        await until(booked)
        asked = {"to": raw(payer.address), "amount_nano": str(GRAM), "txn": "one"}
        made = await http.post("/v1/withdrawals", headers=key, json=asked)
        assert (made.status_code, made.json()["state"]) == (200, "queued")

        async def sent() -> bool:
            answer = await http.get("/v1/withdrawals/one", headers=key)
            return bool(answer.json()["state"] == "sent")

        await until(sent)
        elsewhere = {**asked, "to": "0:" + "55" * 32, "txn": "two"}
        refused = await http.post("/v1/withdrawals", headers=key, json=elsewhere)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
        for changed, status in (
            ({"txn": "three", "amount_nano": str(2 * GRAM + 1)}, 403),
            ({"amount_nano": "200000000"}, 409),
        ):
            refused = await http.post("/v1/withdrawals", headers=key, json={**asked, **changed})
            assert status in told_of(context, "post", "/v1/withdrawals")
            assert refused.status_code == status
        admin = {"authorization": f"Bearer {boss}"}
        made = await http.post(
            f"/admin/v1/accounts/{alice}/withdrawals", headers=admin, json=elsewhere
        )
        assert made.status_code == 200
        much = {**elsewhere, "txn": "three", "amount_nano": str(9 * GRAM)}
        refused = await http.post(
            f"/admin/v1/accounts/{alice}/withdrawals", headers=admin, json=much
        )
        assert refused.json()["error"]["code"] == "insufficient_quota"
        rest = {**asked, "txn": "four", "amount_nano": str(2 * GRAM)}
        refused = await http.post("/v1/withdrawals", headers=key, json=rest)
        assert 402 in told_of(context, "post", "/v1/withdrawals")
        assert (refused.status_code, refused.json()["error"]["code"]) == (402, "insufficient_quota")


async def test_an_administrator_sees_what_is_wrong_with_the_chain_and_sends_on(
    tmp_path: Path, at_devnet: Running
) -> None:
    async with serving(tmp_path) as (context, http):
        accounts = Accounts(context.engine)
        alice = (await accounts.create("alice")).id
        key = {"authorization": f"Bearer {(await accounts.create_key(alice, name='k'))[1].secret}"}
        boss = (await accounts.create_key(alice, name="b", scope="admin"))[1].secret
        admin = {"authorization": f"Bearer {boss}"}
        where = (await http.get("/v1/deposits/address", headers=key)).json()
        shown = (await http.get("/admin/v1/chain", headers=admin)).json()
        assert (shown["address"], shown["troubles"]) == (where["address"], [])
        watch = context.watch
        assert watch is not None
        watch.told.tell("claim_failed", "c", "why")  # type: ignore[attr-defined]
        told = (await http.get("/metrics")).text
        assert 'bombyx_chain_troubles{word="claim_failed"} 1.0' in told
        unknown = await http.post(f"/admin/v1/channels/{'0' * 64}/close", headers=admin)
        assert unknown.json()["error"]["code"] == "channel_not_found"
        resumed = await http.post("/admin/v1/chain/resume", headers=admin)
        assert resumed.status_code == 200
        assert (await http.get("/admin/v1/chain", headers=key)).status_code == 403


async def test_an_administrator_serves_a_halted_channel_again(
    tmp_path: Path, at_devnet: Running, devnet: Devnet, chain: AgreedChain
) -> None:
    parties = Parties(chain, devnet)
    name = parties.channel.account.hex()
    async with serving(tmp_path) as (context, http):
        accounts = Accounts(context.engine)
        alice = (await accounts.create("alice")).id
        key, boss = await accounts.create_key(alice, name="b", scope="admin")
        admin = {"authorization": f"Bearer {boss.secret}"}

        async def ask(what: str, status: int) -> Any:
            answer = await http.post(f"/admin/v1/channels/{name}/{what}", headers=admin)
            path = f"/admin/v1/channels/{{channel}}/{what}"
            assert (answer.status_code, status in told_of(context, "post", path)) == (status, True)
            return answer.json()

        assert (await ask("resume", 409))["error"]["code"] == "channel_not_found"
        await parties.opened()
        channels = Channels(context.engine)
        await channels.register(parties.channel, alice)
        await channels.fund(name, 5 * GRAM)
        assert (await ask("claim", 202))["order"] == "nothing"
        assert (await ask("resume", 200))["state"] == "open"
        claim = orders.claim(parties.channel, GRAM, ceiling=parties.ceiling(2 * GRAM))
        assert (await parties.send(parties.gateway, claim)).succeeded

        async def halted() -> bool:
            return (await channels.row(name)).row.halted

        await until(halted)
        assert (await ask("resume", 409))["error"]["code"] == "close_in_flight"
        await execute(
            context.settings.database_url,
            "INSERT INTO audit_log (at, actor, action, target, detail) "
            "VALUES (0, 'chain', 'channel.halt', :id, '{}')",
            id=name,
        )
        done = await ask("resume", 200)
        assert done == {
            "channel": name,
            "state": "open",
            "deposited_nano": str(5 * GRAM),
            "charged_nano": str(GRAM),
            "claimed_nano": str(GRAM),
        }
        assert (await channels.row(name)).row.ceiling == parties.ceiling(2 * GRAM)
        assert await ask("resume", 200) == done
        changes = (await http.get(f"/admin/v1/audit?target={name}", headers=admin)).json()[
            "changes"
        ]
        assert (changes[0]["action"], changes[0]["actor"]) == ("channel.resume", key.id)


async def test_odd_texts_of_withdrawals_are_refusals_on_postgresql(
    tmp_path: Path, at_devnet: Running, postgres_url: str
) -> None:
    """Which takes U+0000 for an error of its own."""
    async with serving(tmp_path, postgres_url) as (context, http):
        accounts = Accounts(context.engine)
        alice = (await accounts.create("alice")).id
        boss = (await accounts.create_key(alice, name="b", scope="admin"))[1].secret
        body = {"to": "0:" + "55" * 32, "amount_nano": str(GRAM), "txn": "one"}

        async def refused(account: str, changes: dict[str, str], *, own: bool = False) -> int:
            path = "/v1/withdrawals" if own else f"/admin/v1/accounts/{account}/withdrawals"
            headers = {"authorization": f"Bearer {boss}"}
            answer = await http.post(path, headers=headers, json=body | changes)
            assert answer.json()["error"]["code"] in {
                "not_found",
                "invalid_request",
                "malformed_cell",
            }
            return answer.status_code

        assert [await refused(one, {}) for one in ("%00", "a%00", "%ff", "%ed%a0%80")] == [404] * 4
        for changes in ({"to": "\0"}, {"txn": "\0"}, {"txn": "one\n"}, {"amount_nano": "1\0"}):
            assert await refused(alice, changes) == 400
            assert await refused(alice, changes, own=True) == 400


async def test_a_gateway_without_a_chain_says_so(tmp_path: Path) -> None:
    async with serving(tmp_path, chain="none") as (context, http):
        accounts = Accounts(context.engine)
        alice = (await accounts.create("alice")).id
        key = {"authorization": f"Bearer {(await accounts.create_key(alice, name='k'))[1].secret}"}
        answer = await http.get("/v1/deposits/address", headers=key)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
        assert (await http.get("/v1/channels/terms", headers=key)).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "statuses"),
    [
        ("post", "/v1/withdrawals", {402, 409}),
        ("get", "/v1/withdrawals/{txn}", set()),
        ("post", "/v1/channels", {402, 409, 502}),
        ("get", "/v1/channels", {402, 409}),
        ("post", "/admin/v1/accounts/{account}/withdrawals", {402, 409}),
        ("post", "/admin/v1/channels/{channel}/claim", {402, 409}),
        ("post", "/admin/v1/channels/{channel}/close", {402, 409}),
        ("post", "/admin/v1/channels/{channel}/resume", {402, 409, 502}),
        ("post", "/admin/v1/chain/resume", {409, 502}),
    ],
)
async def test_the_document_names_what_money_by_the_chain_refuses(
    tmp_path: Path, method: str, path: str, statuses: set[int]
) -> None:
    async with serving(tmp_path, chain="none") as (context, _):
        assert told_of(context, method, path) & {402, 409, 502} == statuses
