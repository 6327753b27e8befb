"""A channel over HTTP and on the chain: opened, registered, ended by both, seen by all."""

import json
from pathlib import Path

import httpx2
import pytest
from nacl.signing import SigningKey

from bombyx import canonical
from bombyx.money.channel.closing import ChannelSigner
from bombyx.money.channel.documents import (
    CloseAnswer,
    check_close_answer,
    encode_registration,
    registration_of,
)
from bombyx.money.channel.identity import Channel, ChannelConfig
from gateway.accounts.repository import Accounts
from tests.gateway.channels.chain.test_connecting import at_devnet, serving, until
from tests.ton.channels.parties import CLIENT_SEED, GRAM, HOUR, wallet_on
from ton.chain.agreed import AgreedChain
from ton.channels import orders
from ton.channels.seen import look
from ton.devnet.chain import Devnet
from ton.devnet.process import Running
from ton.wallet.wallet import Wallet

__all__ = ["at_devnet"]
SIGNER = ChannelSigner(CLIENT_SEED)


def channel_by(terms: dict[str, str], wallet: Wallet, network: int) -> Channel:
    """The channel that the gateway's terms ask for."""
    config = ChannelConfig(
        client=wallet.account,
        gateway=bytes.fromhex(terms["pay_to"]),
        client_key=bytes(SigningKey(CLIENT_SEED).verify_key),
        gateway_key=bytes.fromhex(terms["gateway_key"]),
        challenge_period=HOUR,
        salt=9,
    )
    return Channel(network, config)


async def test_a_channel_is_opened_registered_and_ended_by_both(
    tmp_path: Path, at_devnet: Running, devnet: Devnet, chain: AgreedChain
) -> None:
    wallet = wallet_on(chain, "client")
    devnet.give(wallet.address, 10 * GRAM)
    async with serving(tmp_path) as (context, http):
        accounts = Accounts(context.engine)
        alice = (await accounts.create("alice")).id
        secret = (await accounts.create_key(alice, name="k"))[1].secret
        http.headers["authorization"] = f"Bearer {secret}"
        (offer,) = (await http.get("/v1/channels/terms")).json()["accepts"]
        channel = channel_by(offer, wallet, chain.network)
        place = f"/v1/channels/{channel.account.hex()}"
        body = encode_registration(registration_of(channel, SIGNER))
        early = await http.post("/v1/channels", content=body)
        assert early.json()["error"]["code"] == "channel_not_found"
        await wallet.put("open", orders.open_message(channel, 2 * GRAM))
        await wallet.settle("open", seconds=20)
        made = await http.post("/v1/channels", content=body)
        assert (made.status_code, made.json()["deposited_nano"]) == (200, str(2 * GRAM))
        await wallet.put("more", orders.top_up(channel, GRAM))
        await wallet.settle("more", seconds=20)

        async def topped_up() -> bool:
            return bool((await http.get(place)).json()["deposited_nano"] == str(3 * GRAM))

        await until(topped_up)
        answer = canonical.decode((await http.post(f"{place}/close")).content, CloseAnswer)
        terms, theirs = check_close_answer(channel, answer)
        ours = SIGNER.sign_close(channel, terms)
        end = orders.coop_close(channel, terms, client_signature=ours, gateway_signature=theirs)
        await wallet.put("end", end)
        await wallet.settle("end", seconds=20)

        async def ended() -> bool:
            return bool((await http.get(place)).json()["state"] == "closed")

        await until(ended)
        seen = await look(chain, channel)
        assert seen is not None
        assert (seen.closed, seen.claimed) == (True, 0)
        assert await context.store.ledger_sum() == 0
        assert await context.store.unposted() == []
        assert await context.store.uneven_channels() == []
    minted, fees, balances = devnet.supply()
    assert minted == fees + balances


@pytest.mark.spec("7.5-a")
async def test_a_channel_to_somebody_else_is_not_taken(
    tmp_path: Path, at_devnet: Running, devnet: Devnet, chain: AgreedChain
) -> None:
    wallet = wallet_on(chain, "client")
    async with serving(tmp_path) as (context, http):
        accounts = Accounts(context.engine)
        alice = (await accounts.create("alice")).id
        secret = (await accounts.create_key(alice, name="k"))[1].secret
        http.headers["authorization"] = f"Bearer {secret}"
        (offer,) = (await http.get("/v1/channels/terms")).json()["accepts"]
        foreign = channel_by({**offer, "pay_to": "77" * 32}, wallet, chain.network)
        assert await code(http, foreign) == "channel_not_ours"
        other = channel_by(offer, wallet, -239)
        assert await code(http, other) == "channel_not_ours"


async def code(http: httpx2.AsyncClient, channel: Channel) -> str:
    body = encode_registration(registration_of(channel, SIGNER))
    answer = await http.post("/v1/channels", content=body)
    return str(json.loads(answer.content)["error"]["code"])
