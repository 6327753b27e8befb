"""SPEC 1.6: the shapes of numbers and digests on the wire."""

import msgspec
import pytest

from bombyx import units
from bombyx.units import Count, Hex16, Hex32, Hex64, Name, NanoText


@pytest.mark.parametrize("text", ["0", "1", "10", "9" * 18])
def test_an_amount_is_a_decimal_string(text: str) -> None:
    assert msgspec.convert(text, NanoText) == text
    assert int(text) <= units.MAX_NANO


@pytest.mark.parametrize(
    "text", ["", "00", "01", "-1", "+1", "1.0", "1e3", " 1", "1\n", "٣", "9" * 19]
)
def test_another_spelling_of_an_amount_is_refused(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text, NanoText)


def test_the_largest_amount_fits_its_text_and_a_database_column() -> None:
    assert len(str(units.MAX_NANO)) == 18
    assert units.MAX_NANO < 2**63


@pytest.mark.parametrize(("kind", "size"), [(Hex16, 16), (Hex32, 32), (Hex64, 64)])
def test_hex_is_lower_case_and_of_one_length(kind: type[str], size: int) -> None:
    good = "0a" * size
    assert msgspec.convert(good, kind) == good
    for bad in (good.upper(), good + "\n", good[:-1], good + "0", "0x" + good[2:], ""):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(bad, kind)


def test_counts_stay_within_the_safe_integers() -> None:
    assert msgspec.convert(units.MAX_SAFE_INTEGER, Count) == 2**53 - 1
    for bad in (-1, 2**53):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(bad, Count)


def test_names_are_printable_and_safe_in_logs() -> None:
    assert msgspec.convert("org/Model-1.5:q4@x+y_z", Name)
    for bad in ("", "a b", "a\n", "é", "a" * 129, 'a"'):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(bad, Name)
