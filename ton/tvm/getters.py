"""Get methods: their ids, and their arguments and answers as stacks."""

from pytoniq_core import Address, Cell
from pytoniq_core.tlb.vm_stack import VmStack

from ton.codec.cells import Reader, parse_boc, raw
from ton.errors import EmulatorFailed, MalformedCell
from ton.tvm.accounts import Account
from ton.tvm.machine import Call, Tvm

_POLYNOMIAL = 0x1021


def method_id(name: str) -> int:
    """The number that a get method is called by: CRC-16/XMODEM of its name, with bit 16 set."""
    crc = 0
    for byte in name.encode():
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ _POLYNOMIAL if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc | 0x10000


def call(
    tvm: Tvm, account: Account, method: str, *arguments: int | Cell, now: int
) -> list[int | Cell]:
    """Run a get method of an active account on numbers and cells; slices come back as cells.

    Raises `EmulatorFailed` where it ends with another exit code than 0.
    """
    if account.address is None or account.code is None or account.data is None:
        raise MalformedCell("there is no contract at this address")
    answer = tvm.get(
        Call(
            code=account.code.to_boc(),
            data=account.data.to_boc(),
            method=method_id(method),
            stack=stack_of(*arguments),
            address=raw(account.address),
            balance=account.balance,
            now=now,
        )
    )
    if answer.exit_code not in (0, 1):
        raise EmulatorFailed(f"{method} ended with exit code {answer.exit_code}")
    return values_of(answer.stack)


def stack_of(*arguments: int | Cell) -> bytes:
    """A stack as a bag of cells, the first argument lowest."""
    return bytes(VmStack.serialize(list(arguments)).to_boc())


def values_of(stack: bytes) -> list[int | Cell]:
    """The values of a stack; raises `MalformedCell` for what is neither number, cell nor slice."""
    values: list[int | Cell] = []
    for value in VmStack.deserialize(parse_boc(stack).begin_parse()):
        if isinstance(value, int | Cell):
            values.append(value)
        elif hasattr(value, "to_cell"):
            values.append(value.to_cell())
        else:
            raise MalformedCell("a value of another kind on the stack")
    return values


def address_of(value: int | Cell) -> Address:
    """An address that a get method answered with; raises `MalformedCell`."""
    if isinstance(value, int):
        raise MalformedCell("a number where an address belongs")
    return Reader(value).address()
