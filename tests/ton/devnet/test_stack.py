"""Values of get methods, there and back, in both dialects."""

from base64 import b64encode
from typing import Any

import pytest
from pytoniq_core import Cell, begin_cell
from pytoniq_core.tlb.vm_stack import VmStack, VmTuple

from ton.codec.cells import Writer
from ton.devnet.errors import Refusal
from ton.devnet.stack import parse_stack, read_stack, show_v2, show_v3

CELL = Writer().uint(5, 8).cell()
BOC = b64encode(CELL.to_boc()).decode()


def plain(value: Any) -> Any:
    """Something that compares."""
    if isinstance(value, VmTuple):
        return tuple(plain(one) for one in value.list)
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, Cell):
        return "cell", value.hash
    kind = "builder" if hasattr(value, "end_cell") else "slice"
    return kind, (value.end_cell() if kind == "builder" else value.to_cell()).hash


@pytest.mark.parametrize(
    ("item", "value"),
    [
        (["num", "0x1f"], 31),
        (["num", "-0x1f"], -31),
        (["num", "31"], 31),
        (["num", 31], 31),
        (["int", str(2**200)], 2**200),
        (["num", {"number": "5"}], 5),
        ({"type": "num", "value": "7"}, 7),
        ({"type": "null"}, None),
        (["cell", BOC], ("cell", CELL.hash)),
        (["tvm.Cell", {"bytes": BOC}], ("cell", CELL.hash)),
        (["tvm.Slice", BOC], ("slice", CELL.hash)),
        ({"type": "slice", "value": BOC}, ("slice", CELL.hash)),
        ({"type": "builder", "value": BOC}, ("builder", CELL.hash)),
        (["tuple", {"elements": [["num", "1"], ["cell", BOC]]}], (1, ("cell", CELL.hash))),
        ({"type": "tuple", "value": [{"type": "num", "value": "1"}]}, (1,)),
        (["tuple", []], ()),
    ],
    ids=str,
)
def test_what_is_asked_with_arrives(item: Any, value: Any) -> None:
    assert [plain(one) for one in read_stack(parse_stack([["num", "9"], item]))] == [9, value]


SHOWN: list[tuple[Any, Any, Any]] = [
    (31, ["num", "0x1f"], {"type": "num", "value": "0x1f"}),
    (-1, ["num", "-0x1"], {"type": "num", "value": "-0x1"}),
    (CELL, ["cell", {"bytes": BOC}], {"type": "cell", "value": BOC}),
    (CELL.begin_parse(), ["cell", {"bytes": BOC}], {"type": "slice", "value": BOC}),
    (
        begin_cell().store_uint(5, 8),
        ["cell", {"bytes": BOC}],
        {"type": "builder", "value": BOC},
    ),
    (None, ["list", {"@type": "tvm.list", "elements": []}], {"type": "list", "value": []}),
    (
        VmTuple([1, CELL, None, VmTuple([2])]),
        [
            "tuple",
            {
                "@type": "tvm.tuple",
                "elements": [
                    {
                        "@type": "tvm.stackEntryNumber",
                        "number": {"@type": "tvm.numberDecimal", "number": "1"},
                    },
                    {"@type": "tvm.stackEntryCell", "cell": {"@type": "tvm.cell", "bytes": BOC}},
                    {"@type": "tvm.stackEntryList", "list": {"@type": "tvm.list", "elements": []}},
                    {
                        "@type": "tvm.stackEntryTuple",
                        "tuple": {
                            "@type": "tvm.tuple",
                            "elements": [
                                {
                                    "@type": "tvm.stackEntryNumber",
                                    "number": {"@type": "tvm.numberDecimal", "number": "2"},
                                }
                            ],
                        },
                    },
                ],
            },
        ],
        {
            "type": "tuple",
            "value": [
                {"type": "num", "value": "0x1"},
                {"type": "cell", "value": BOC},
                {"type": "list", "value": []},
                {"type": "tuple", "value": [{"type": "num", "value": "0x2"}]},
            ],
        },
    ),
]


@pytest.mark.parametrize(("value", "v2", "v3"), SHOWN)
def test_what_is_left_is_shown_in_both_dialects(value: Any, v2: Any, v3: Any) -> None:
    assert (show_v2(value), show_v3(value)) == (v2, v3)


def test_what_cannot_be_shown_is_refused() -> None:
    for show in (show_v2, show_v3):
        with pytest.raises(Refusal, match="cannot show"):
            show(object())
    with pytest.raises(Refusal, match="cannot show"):
        read_stack(CELL.to_boc())
    assert read_stack(VmStack.serialize([]).to_boc()) == []
