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
from gateway.context import Context
from gateway.database import upgrade
from gateway.settings import GatewaySettings
from tests.ton.channels.parties import wallet_on
from ton.chain.agreed import AgreedChain
from ton.codec.cells import parse_address, raw
from ton.devnet.chain import Devnet
from ton.devnet.process import Running
from ton.settings import DEVNET
from ton.wallet.comments import comment
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
    assert not await has_chain(tmp_path, "auto")
    with pytest.raises(SetupError, match="pip install bombyx-ton"):
        await has_chain(tmp_path, "ton")


@contextlib.asynccontextmanager
async def serving(
    state: Path, **settings: Any
) -> AsyncIterator[tuple[Context, httpx2.AsyncClient]]:
    url = f"sqlite:///{state / 'gateway.db'}"
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
        admin = {"authorization": f"Bearer {boss}"}
        made = await http.post(
            f"/admin/v1/accounts/{alice}/withdrawals", headers=admin, json=elsewhere
        )
        assert made.status_code == 200
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


async def test_a_gateway_without_a_chain_says_so(tmp_path: Path) -> None:
    async with serving(tmp_path, chain="none") as (context, http):
        accounts = Accounts(context.engine)
        alice = (await accounts.create("alice")).id
        key = {"authorization": f"Bearer {(await accounts.create_key(alice, name='k'))[1].secret}"}
        answer = await http.get("/v1/deposits/address", headers=key)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
        assert (await http.get("/v1/channels/terms", headers=key)).status_code == 404
