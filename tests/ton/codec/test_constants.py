"""The numbers of ton/codec are those of the contract's sources."""

import re

import pytest

from ton.codec import constants
from ton.codec.constants import Err, Gas, Op
from ton.contracts import FOLDER


def source(name: str) -> str:
    return (FOLDER / f"{name}.tolk").read_text(encoding="utf-8")


def numbers(text: str) -> dict[str, int]:
    found = re.findall(
        r"^const (\w+)(?:: coins)? = (?:ton\(\"([\d.]+)\"\)|(\w+))", text, re.MULTILINE
    )
    return {
        name: round(float(grams) * 10**9) if grams else int(plain, 0)
        for name, grams, plain in found
    }


def words(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper()


def test_op_codes_are_the_prefixes_of_the_structs() -> None:
    prefixes = re.findall(r"^struct \((0x\w+)\) (\w+)", source("messages"), re.MULTILINE)
    assert {words(name): int(code, 16) for code, name in prefixes} == {
        op.name: op.value for op in Op
    }


def test_exit_codes_are_those_of_the_contract_and_each_is_thrown() -> None:
    told = {name.removeprefix("ERR_"): code for name, code in numbers(source("errors")).items()}
    assert told == {error.name: error.value for error in Err}
    contract = source("payment_channel")
    assert [name for name in told if f"throw ERR_{name}" not in contract] == []


def test_gas_bounds_and_sums_are_those_of_the_contract() -> None:
    told = numbers(source("fees"))
    gas = {name.removeprefix("GAS_"): told.pop(name) for name in list(told) if name[:4] == "GAS_"}
    assert gas == {one.name: one.value for one in Gas}
    assert told.pop("YEAR") == 365 * 86_400
    assert told == {name: getattr(constants, name) for name in told}


@pytest.mark.parametrize("name", ["OPEN", "CLOSED", "MIN_CHALLENGE", "MAX_CHALLENGE"])
def test_states_and_bounds_are_those_of_the_contract(name: str) -> None:
    assert numbers(source("storage"))[name] == getattr(constants, name)
