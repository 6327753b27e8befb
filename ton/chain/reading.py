"""toncenter's JSON as typed values; whatever does not fit raises `ValueError`."""

from base64 import b64decode, b64encode
from typing import Any, Final

from pytoniq_core import Address, Cell

from ton.chain.bags import parse_bag
from ton.chain.port import AccountState, Happened, MethodResult, Point, Value
from ton.codec.cells import MAX_COINS, Reader
from ton.errors import MalformedCell
from ton.tvm.accounts import Status
from ton.tvm.transactions import Transaction

HASH_BYTES: Final = 32
NO_CONTRACT: Final = -13
"""How a get method ends at toncenter where there is no code to run."""
_MAX_LT: Final = 2**64 - 1
_MAX_TIME: Final = 2**32 - 1
_STATES: Final = {
    "active": Status.ACTIVE,
    "frozen": Status.FROZEN,
    "uninitialized": Status.UNINITIALIZED,
    "uninit": Status.UNINITIALIZED,
}


class Nonsense(ValueError):
    """What a provider's answer has that no answer can have; reads on from the provider's name."""


def member(document: Any, name: str) -> Any:
    """A member of an object."""
    if not isinstance(document, dict) or name not in document:
        raise Nonsense(f"lacks {name}")
    return document[name]


def natural(value: Any, high: int) -> int:
    """A number, also as a decimal string."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise Nonsense("has something else in place of a number")
    number = int(value)
    if not 0 <= number <= high:
        raise Nonsense("has a number that cannot be")
    return number


def octets(value: Any) -> bytes:
    """Bytes in base64."""
    if not isinstance(value, str):
        raise Nonsense("has something else in place of base64")
    return b64decode(value, validate=True)


def cell(value: Any) -> Cell:
    """A bag of cells in base64."""
    try:
        return parse_bag(octets(value), 1)[0]
    except MalformedCell as cause:
        raise Nonsense(f"has a broken bag of cells: {cause.message}") from cause


def _maybe_cell(value: Any) -> Cell | None:
    return None if value in ("", None) else cell(value)


def point(document: Any) -> Point:
    """A transaction's id."""
    hash_ = octets(member(document, "hash"))
    if len(hash_) != HASH_BYTES:
        raise Nonsense("has a hash of another length")
    return Point(natural(member(document, "lt"), _MAX_LT), hash_)


def account_state(address: Address, document: Any) -> AccountState:
    """The result of `getAddressInformation`."""
    status = _STATES.get(member(document, "state"))
    if status is None:
        raise Nonsense("has a state that is none")
    code, data = (_maybe_cell(member(document, name)) for name in ("code", "data"))
    if status is Status.ACTIVE and (code is None or data is None):
        raise Nonsense("shows an active account without code or data")
    last = point(member(document, "last_transaction_id"))
    balance = natural(member(document, "balance"), MAX_COINS)
    if status is Status.UNINITIALIZED and not last.lt:
        status = Status.ABSENT
    at = natural(document.get("sync_utime", 0), _MAX_TIME)
    if status is not Status.ACTIVE:
        code = data = None
    return AccountState(address, status, balance, code, data, last, at)


def happened(address: Address, document: Any) -> Happened:
    """One item of `getTransactions`: from its bag of cells alone, whatever else it says."""
    return read_transaction(address, octets(member(document, "data")))


def read_transaction(address: Address, boc: bytes) -> Happened:
    """A transaction of this account and what it says came before it."""
    try:
        return transaction_of(address, parse_bag(boc, 1)[0])
    except MalformedCell as cause:
        raise Nonsense(f"has a broken transaction: {cause.message}") from cause


def transaction_of(address: Address, cell: Cell) -> Happened:
    """The same of its own cell."""
    try:
        transaction = Transaction.of(cell)
        reader = Reader(cell).tag(0b0111, 4)
        account, _, hash_, lt = (
            reader.octets(32), reader.uint(64), reader.octets(32), reader.uint(64)
        )  # fmt: skip
    except MalformedCell as cause:
        raise Nonsense(f"has a broken transaction: {cause.message}") from cause
    if account != address.hash_part:
        raise Nonsense("shows another account's transaction")
    return Happened(transaction, Point(lt, hash_))


def method_result(document: Any) -> MethodResult:
    """The result of `runGetMethod`."""
    exit_code = member(document, "exit_code")
    stack = member(document, "stack")
    if isinstance(exit_code, bool) or not isinstance(exit_code, int) or not isinstance(stack, list):
        raise Nonsense("has a get method's result of another form")
    return MethodResult(exit_code, tuple(_value(item) for item in stack))


def _value(item: Any) -> Value:
    if not isinstance(item, list) or len(item) != 2:  # noqa: PLR2004 - a pair
        raise Nonsense("has a stack of another form")
    kind, value = item
    if kind == "num" and isinstance(value, str):
        return int(value, 16)
    if kind in {"cell", "slice", "tvm.Cell", "tvm.Slice"}:
        return cell(member(value, "bytes"))
    if kind in {"list", "tuple", "null"}:
        elements = value.get("elements") if isinstance(value, dict) else value
        if not elements:
            return None
    raise Nonsense(f"has a {str(kind)[:20]} on the stack, which nothing here asks for")


def shown_value(value: Value) -> list[str]:
    """An argument for `runGetMethod`."""
    if value is None:
        raise Nonsense("nothing here passes null to a get method")
    if isinstance(value, Cell):
        return ["tvm.Cell", b64encode(value.to_boc()).decode()]
    return ["num", hex(value)]
