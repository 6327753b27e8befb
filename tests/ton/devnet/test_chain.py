"""The chain itself: money, time, going back, and what it keeps."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from pytoniq_core import Address

from bombyx.errors import SetupError
from tests.ton.devnet.fixtures import GRAM, Wall, channel_config
from tests.ton.devnet.wallets import Wallet
from ton.codec.cells import raw
from ton.codec.messages import FinishClose, StartClose
from ton.codec.storage import ChannelState, channel_address
from ton.contracts import payment_channel
from ton.devnet import chain as chain_module
from ton.devnet.chain import MAX_FAUCET, Devnet
from ton.devnet.clock import MAX_TIME, Clock
from ton.devnet.errors import BadArgument, NoSuchThing, NotExecuted
from ton.devnet.log import Log
from ton.devnet.process import FILE, opened
from ton.tvm.emulator import Emulator
from ton.tvm.messages import Internal

PLACE = Address((0, b"\x55" * 32))
DAY = 86_400


def total(devnet: Devnet) -> int:
    minted, fees, balances = devnet.supply()
    assert minted == fees + balances
    return minted


def test_no_nano_is_lost_or_made(devnet: Devnet) -> None:
    wallet = Wallet()
    devnet.give(wallet.address, 10 * GRAM)
    config = channel_config(wallet.address)
    channel = channel_address(payment_channel(), config)
    devnet.send(wallet.opening(config, GRAM))
    devnet.send(wallet.transfer(channel, 50_000_000))  # a stray, which stays
    devnet.send(wallet.transfer(channel, 50_000_000, bounce=True))
    batch = [Internal(wallet.address, PLACE, number, bounce=True) for number in range(1, 60)]
    devnet.send(wallet.signed(*batch))
    assert total(devnet) == 10 * GRAM


def test_the_clock_is_put_forward_for_contracts_to_see(devnet: Devnet, wall: Wall) -> None:
    wallet = Wallet()
    devnet.give(wallet.address, 10 * GRAM)
    config = channel_config(wallet.address)
    channel = channel_address(payment_channel(), config)
    devnet.send(wallet.opening(config, GRAM))

    def ask(body: StartClose | FinishClose) -> ChannelState:
        message = Internal(wallet.address, channel, 50_000_000, body.cell())
        devnet.send(wallet.signed(message))
        data = devnet.account(raw(channel)).data
        assert data is not None
        return ChannelState.read(data)

    started = ask(StartClose(1))
    assert started.close_at == devnet.now() + DAY
    assert not ask(FinishClose(2)).is_closed
    assert devnet.advance(DAY) == int(wall.at) + DAY
    assert ask(FinishClose(3)).is_closed
    assert total(devnet) == 10 * GRAM


def test_time_never_goes_back(devnet: Devnet, wall: Wall) -> None:
    before = devnet.now()
    devnet.advance(100)
    wall.at -= 1000
    assert devnet.now() == before + 100
    for seconds in (-1, MAX_TIME):
        with pytest.raises(BadArgument):
            devnet.advance(seconds)
    wall.at += 1500
    assert devnet.now() == before + 600
    assert devnet.advance(5) == before + 605


def test_the_clock_ends_with_what_contracts_can_hold(wall: Wall) -> None:
    clock = Clock(wall, offset=MAX_TIME)
    assert clock.now() == MAX_TIME


@pytest.mark.parametrize("amount", [0, -1, MAX_FAUCET + 1])
def test_the_faucet_has_bounds(devnet: Devnet, amount: int) -> None:
    with pytest.raises(BadArgument):
        devnet.give(PLACE, amount)


def test_a_trace_without_end_is_undone(devnet: Devnet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_module, "MAX_TRACE", 3)
    wallet = Wallet()
    devnet.give(wallet.address, 10 * GRAM)
    before = devnet.supply(), devnet.log.head()
    batch = [Internal(wallet.address, PLACE, 10**6, bounce=False) for _ in range(5)]
    with pytest.raises(NotExecuted, match="more than 3 transactions"):
        devnet.send(wallet.signed(*batch))
    assert (devnet.supply(), devnet.log.head()) == before


def test_going_back_undoes_whole_blocks(devnet: Devnet) -> None:
    wallet = Wallet()
    kept = devnet.give(wallet.address, 10 * GRAM).block
    undone = wallet.transfer(PLACE, GRAM)
    devnet.send(undone)
    devnet.back_to(kept.seqno)
    assert (devnet.account(raw(PLACE)).balance, total(devnet)) == (0, 10 * GRAM)
    devnet.send(undone)  # the wallet's seqno went back too
    assert devnet.account(raw(PLACE)).balance == GRAM
    with pytest.raises(NoSuchThing):
        devnet.back_to(99)
    assert devnet.back_to(0).seqno == 0
    assert devnet.supply() == (0, 0, 0)


async def test_faucet_clock_and_rollback_over_http(http: httpx2.AsyncClient) -> None:
    asked = {"address": PLACE.to_str()}
    given = (await http.post("/devnet/faucet", json=asked)).json()
    assert (given["amount_nano"], given["seqno"]) == (str(100 * GRAM), 1)
    huge = {**asked, "amount_nano": str(MAX_FAUCET)}
    more = (await http.post("/devnet/faucet", json=huge)).json()
    assert more["balance_nano"] == str(MAX_FAUCET + 100 * GRAM)
    refused = await http.post("/devnet/faucet", json={**asked, "amount_nano": str(MAX_FAUCET + 1)})
    assert refused.status_code == 422
    moved = (await http.post("/devnet/clock", json={"advance": 3600})).json()
    assert moved["clock_offset"] == 3600
    assert (await http.post("/devnet/rollback", json={"seqno": 1})).json()["seqno"] == 1
    status = (await http.get("/devnet/status")).json()
    assert status["minted_nano"] == status["balances_nano"] == str(100 * GRAM)
    assert (status["seqno"], status["clock_offset"]) == (1, 3600)


def test_a_folder_holds_everything(devnet_tvm: Emulator, wall: Wall, tmp_path: Path) -> None:
    with opened(devnet_tvm, tmp_path, wall=wall) as devnet:
        devnet.give(PLACE, GRAM)
        devnet.advance(DAY)
        kept = devnet.log.head(), devnet.supply(), devnet.now(), devnet.account(raw(PLACE))
    with opened(devnet_tvm, tmp_path, wall=wall) as devnet:
        again = devnet.log.head(), devnet.supply(), devnet.now(), devnet.account(raw(PLACE))
        assert again[:3] == kept[:3]
        assert again[3].last_hash == kept[3].last_hash
        devnet.give(PLACE, GRAM)
        assert devnet.log.head().seqno == 2


def test_a_folder_of_another_network_version_or_kind_is_refused(
    devnet_tvm: Emulator, tvm: Emulator, wall: Wall, tmp_path: Path
) -> None:
    with opened(devnet_tvm, tmp_path, wall=wall):
        pass
    with pytest.raises(SetupError, match="whose network is"), opened(tvm, tmp_path, wall=wall):
        pass
    log = Log(tmp_path / FILE)
    log._db.execute("PRAGMA user_version = 9")
    log.close()
    with pytest.raises(SetupError, match="version 9, not 1"):
        Log(tmp_path / FILE)
    (tmp_path / "other").write_bytes(b"not a database, whatever its size may be" * 100)
    with pytest.raises(SetupError, match="no devnet of this version"):
        Log(tmp_path / "other")


def test_what_was_answered_survives_a_kill_at_any_moment(
    node_modules: Path, tmp_path: Path, devnet_tvm: Emulator, wall: Wall
) -> None:
    flags = ["--port", "0", "--state", str(tmp_path), "--json"]
    program = "import typer; from ton.cli import devnet; typer.run(devnet)"
    process = subprocess.Popen(
        [sys.executable, "-c", program, *flags], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        ready = json.loads(process.stdout.readline())
        with httpx2.Client(trust_env=False) as http:
            asked = {"address": raw(PLACE), "amount_nano": "1"}
            answers = [http.post(ready["faucet"], json=asked).json() for _ in range(20)]
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    with opened(devnet_tvm, tmp_path / "devnet", wall=wall) as devnet:
        assert devnet.log.head().seqno == answers[-1]["seqno"] == 20
        assert total(devnet) == 20  # less a nano of rent if a second passed
