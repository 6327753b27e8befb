"""SPEC 1.6: the shapes of numbers and digests on the wire."""

from typing import Any

import msgspec
import pytest

from bombyx import units
from bombyx.canonical import Document
from bombyx.units import Count, Hex16, Hex32, Hex64, Name, NanoText


def one_field(kind: object) -> type[msgspec.Struct]:
    """Hex and decimals are checked by the document that holds them."""
    return msgspec.defstruct("OneField", [("value", kind)], bases=(Document,), frozen=True)


def read(text: object, kind: object) -> object:
    document: Any = msgspec.convert({"value": text}, one_field(kind))
    return document.value


@pytest.mark.parametrize("text", ["0", "1", "10", "9" * 18])
def test_an_amount_is_a_decimal_string(text: str) -> None:
    assert read(text, NanoText) == text
    assert int(text) <= units.MAX_NANO


@pytest.mark.spec("1.6-b")
@pytest.mark.parametrize(
    "text", ["", "00", "01", "-1", "+1", "1.0", "1e3", " 1", "1\n", "٣", "9" * 19]
)
def test_another_spelling_of_an_amount_is_refused(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(text, NanoText)


def test_the_largest_amount_fits_its_text_and_a_database_column() -> None:
    assert len(str(units.MAX_NANO)) == 18
    assert units.MAX_NANO < 2**63


@pytest.mark.spec("1.6-b")
@pytest.mark.parametrize(("kind", "size"), [(Hex16, 16), (Hex32, 32), (Hex64, 64)])
def test_hex_is_lower_case_and_of_one_length(kind: type[str], size: int) -> None:
    good = "0a" * size
    assert read(good, kind) == good
    for bad in (good.upper(), good + "\n", good[:-1], good + "0", "0x" + good[2:], ""):
        with pytest.raises(msgspec.ValidationError):
            read(bad, kind)


@pytest.mark.spec("1.6-b")
def test_counts_stay_within_the_safe_integers() -> None:
    assert msgspec.convert(units.MAX_SAFE_INTEGER, Count) == 2**53 - 1
    for bad in (-1, 2**53):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(bad, Count)


@pytest.mark.spec("1.6-b")
def test_names_are_printable_and_safe_in_logs() -> None:
    assert msgspec.convert("org/Model-1.5:q4@x+y_z", Name)
    for bad in ("", "a b", "a\n", "é", "a" * 129, 'a"'):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(bad, Name)
