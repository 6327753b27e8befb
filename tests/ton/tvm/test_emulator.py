"""The real TVM in this process: it starts, refuses, stops, and says what is missing."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from pytoniq_core import Cell

from tests.ton.channel import CLIENT, GRAM, Channel
from ton.codec.cells import Writer, parse_boc
from ton.codec.messages import StartClose
from ton.errors import EmulatorFailed, EmulatorMissing, MalformedCell, MessageNotAccepted
from ton.tvm import getters
from ton.tvm.accounts import ABSENT, Account, Status
from ton.tvm.emulator import Emulator, sandbox_folder
from ton.tvm.machine import Call
from ton.tvm.messages import Internal, external
from ton.tvm.network import (
    BASECHAIN_2026,
    MAINNET,
    TESTNET,
    network_config,
    prices_of,
)


def test_an_absent_emulator_names_the_command_that_installs_it(tmp_path: Path) -> None:
    with pytest.raises(EmulatorMissing, match="make tools"):
        sandbox_folder(tmp_path)
    (tmp_path / "@ton/sandbox/dist/executor").mkdir(parents=True)
    (tmp_path / "@ton/sandbox/dist/executor/emulator-emscripten.wasm.js").write_text("other")
    (tmp_path / "@ton/sandbox/dist/executor/emulator-emscripten.js").write_text("1")
    with pytest.raises(EmulatorFailed, match="unknown form"):
        Emulator(b"", packages=tmp_path)


def test_it_is_built_from_a_known_commit(tvm: Emulator) -> None:
    assert tvm.version.startswith("f801e1c1")


def test_a_broken_configuration_is_refused() -> None:
    with pytest.raises(EmulatorFailed):
        Emulator(bytes(Writer().uint(1, 8).cell().to_boc()))


def test_a_broken_message_is_the_emulators_complaint_and_it_goes_on(
    tvm: Emulator, code: Cell
) -> None:
    junk = bytes(Writer().uint(3, 2).cell().to_boc())
    with pytest.raises(EmulatorFailed):
        tvm.run(junk, ABSENT, now=1, lt=1)
    channel = Channel(tvm, code)
    assert channel.send(CLIENT, GRAM, StartClose(1).cell()).transaction.exit_code == -1


def test_a_message_from_outside_to_nobody_is_refused_and_no_failure(tvm: Emulator) -> None:
    message = external(CLIENT, Writer().uint(1, 8).cell()).to_boc()
    with pytest.raises(MessageNotAccepted, match="absent or cannot pay") as refused:
        tvm.run(message, ABSENT, now=1_790_000_000, lt=1_000_000)
    assert refused.value.exit_code is None


def test_the_same_message_gives_the_same_bytes(tvm: Emulator) -> None:
    message = Internal(CLIENT, CLIENT, GRAM, bounce=False).cell().to_boc()
    first = tvm.run(message, ABSENT, now=1_790_000_000, lt=1_000_000)
    assert tvm.run(message, ABSENT, now=1_790_000_000, lt=1_000_000) == first
    account = Account.read(first.shard_account)
    assert (account.status, account.balance) == (Status.UNINITIALIZED, GRAM)
    assert account.last_lt == 1_000_000


def test_a_loop_that_runs_is_no_hindrance(base_config: bytes) -> None:
    async def inside() -> str:
        with Emulator(network_config(base_config)) as emulator:
            return emulator.version

    assert asyncio.run(inside())


def test_a_process_that_forgets_to_close_still_ends(node_modules: Path) -> None:
    code = (
        "from ton.tvm.emulator import Emulator, default_config\n"
        "emulator = Emulator(default_config())\n"
        "print(emulator.version)"
    )
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stderr


def test_the_configuration_has_the_prices_and_the_network_that_were_asked_for(
    base_config: bytes, tvm: Emulator
) -> None:
    assert prices_of(tvm.config) == BASECHAIN_2026
    assert prices_of(base_config) != BASECHAIN_2026
    assert network_config(base_config) == tvm.config
    assert network_config(base_config, network=TESTNET) != tvm.config
    assert MAINNET == -239


def test_fees_are_rounded_up_as_the_chain_does() -> None:
    assert BASECHAIN_2026.gas_fee(0) == 0
    assert BASECHAIN_2026.gas_fee(100) == 6_667
    assert BASECHAIN_2026.gas_fee(101) == 6_734
    assert BASECHAIN_2026.forward_fee() == 66_667
    assert BASECHAIN_2026.rent(65_536, bits=1, cells=1) == 135


def test_get_methods_fail_with_a_sentence(tvm: Emulator) -> None:
    with pytest.raises(MalformedCell, match="no contract"):
        getters.call(tvm, Account.read(ABSENT), "channelState", now=1)
    throws = Writer().uint(0xF22A, 16).cell()
    account = Account(0, bytes(32), Status.ACTIVE, CLIENT, 1, throws, throws)
    with pytest.raises(EmulatorFailed, match="exit code 42"):
        getters.call(tvm, account, "anything", now=1)
    with pytest.raises(MalformedCell, match="address"):
        getters.address_of(3)
    call = Call(b"", b"", 0, b"", "0:00", 0, 0)
    with pytest.raises(EmulatorFailed):
        tvm.get(call)


def test_method_ids_are_those_of_the_chain() -> None:
    assert getters.method_id("seqno") == 85143
    assert getters.method_id("get_wallet_data") == 97026


def test_stacks_hold_numbers_and_cells() -> None:
    cell = Writer().uint(5, 8).cell()
    values: list[int | Cell] = [0, -1, 2**63, -(2**255), cell]
    assert getters.values_of(getters.stack_of(*values)) == values
    null = Writer().uint(1, 24).ref(Writer().cell()).uint(0, 8).cell()
    with pytest.raises(MalformedCell, match="another kind"):
        getters.values_of(bytes(null.to_boc()))
    assert parse_boc(getters.stack_of()).bits.to01() == "0" * 24
