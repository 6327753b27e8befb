"""Stacks of get methods in toncenter's JSON: v2's `[kind, value]` pairs, v3's `{type, value}`.

Numbers, cells, slices, builders, nulls and tuples, in both directions.
"""

from typing import Any, Final

from pytoniq_core import Builder, Cell, Slice
from pytoniq_core.tlb.vm_stack import VmStack, VmTuple

from ton.codec.cells import parse_boc
from ton.devnet.arguments import whole
from ton.devnet.bocs import decode_boc, encode_boc
from ton.devnet.errors import BadArgument, Refusal

MAX_DEPTH: Final = 16
"""Of tuples within tuples: beyond what any get method takes."""
MAX_STACK: Final = 255
_INT_BITS: Final = 257

_NUMBERS: Final = {"num", "number", "int", "tvm.stackEntryNumber"}
_CELLS: Final = {"cell", "tvm.Cell", "tvm.cell"}
_SLICES: Final = {"slice", "tvm.Slice", "tvm.slice"}
_BUILDERS: Final = {"builder", "tvm.Builder", "tvm.builder"}
_TUPLES: Final = {"tuple", "list"}


def parse_stack(items: Any) -> bytes:
    """A request's stack as a bag of cells, in either form; raises `BadArgument`."""
    if not isinstance(items, list) or len(items) > MAX_STACK:
        raise BadArgument(f"stack must be an array of at most {MAX_STACK} entries")
    values = [_value(item, MAX_DEPTH) for item in items]
    return bytes(VmStack.serialize(values).to_boc())


def _value(item: Any, depth: int) -> Any:
    if not depth:
        raise BadArgument("the stack is nested too deeply")
    kind, value = _kind_and_value(item)
    if kind in _NUMBERS:
        return _number(value)
    if kind == "null":
        return None
    if kind in _TUPLES:
        inner = value.get("elements") if isinstance(value, dict) else value
        if not isinstance(inner, list) or len(inner) > MAX_STACK:
            raise BadArgument("a tuple must be an array")
        return VmTuple([_value(one, depth - 1) for one in inner])
    cell = _cell(value)
    if kind in _CELLS:
        return cell
    if kind in _SLICES:
        return cell.begin_parse()
    if kind in _BUILDERS:
        return cell.to_builder()
    raise BadArgument(f"a stack entry of unknown type {str(kind)[:40]!r}")


def _kind_and_value(item: Any) -> tuple[str, Any]:
    if isinstance(item, list) and len(item) == 2:  # noqa: PLR2004 - a pair
        return str(item[0]), item[1]
    if isinstance(item, dict) and "type" in item:
        return str(item["type"]), item.get("value")
    raise BadArgument('a stack entry is ["type", value] or {"type": …, "value": …}')


def _number(value: Any) -> int:
    number = whole(value.get("number") if isinstance(value, dict) else value)
    if number is None:
        raise BadArgument("a number of the stack must be decimal, or hex with 0x")
    if not -(1 << _INT_BITS - 1) <= number < 1 << _INT_BITS - 1:
        raise BadArgument("a number of the stack has more than 257 bits")
    return number


def _cell(value: Any) -> Cell:
    text = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(text, str):
        raise BadArgument("a cell of the stack must be a bag of cells in base64")
    return decode_boc(text)


def read_stack(boc: bytes) -> list[Any]:
    """The values that a get method left: numbers, cells, slices, builders, None, tuples."""
    try:
        return list(VmStack.deserialize(parse_boc(boc).begin_parse()))
    except Exception as cause:  # pytoniq-core raises whatever it stumbles over
        raise Refusal("the get method left what this API cannot show") from cause


def show_v2(value: Any) -> list[Any]:
    """One value as a pair; slices look like cells, as they do at toncenter."""
    if value is None:
        return ["list", {"@type": "tvm.list", "elements": []}]
    if isinstance(value, VmTuple):
        return ["tuple", {"@type": "tvm.tuple", "elements": [_element(one) for one in value.list]}]
    if isinstance(value, int):
        return ["num", hex(value)]
    return ["cell", {"bytes": encode_boc(_as_cell(value)[1])}]


def _element(value: Any) -> dict[str, Any]:
    """A value within a tuple, in the words of tonlib."""
    if value is None or isinstance(value, VmTuple):
        inner = [_element(one) for one in value.list] if value is not None else []
        name = "list" if value is None else "tuple"
        return {
            "@type": f"tvm.stackEntry{name.title()}",
            name: {"@type": f"tvm.{name}", "elements": inner},
        }
    if isinstance(value, int):
        return {
            "@type": "tvm.stackEntryNumber",
            "number": {"@type": "tvm.numberDecimal", "number": str(value)},
        }
    kind, cell = _as_cell(value)
    return {
        "@type": f"tvm.stackEntry{kind.title()}",
        kind: {"@type": f"tvm.{kind}", "bytes": encode_boc(cell)},
    }


def show_v3(value: Any) -> dict[str, Any]:
    """One value as toncenter's v3 has it."""
    if value is None:
        return {"type": "list", "value": []}
    if isinstance(value, VmTuple):
        return {"type": "tuple", "value": [show_v3(one) for one in value.list]}
    if isinstance(value, int):
        return {"type": "num", "value": hex(value)}
    kind, cell = _as_cell(value)
    return {"type": kind, "value": encode_boc(cell)}


def _as_cell(value: Any) -> tuple[str, Cell]:
    if isinstance(value, Cell):
        return "cell", value
    if isinstance(value, Slice):
        return "slice", value.to_cell()
    if isinstance(value, Builder):
        return "builder", value.end_cell()
    raise Refusal("the get method left what this API cannot show")
