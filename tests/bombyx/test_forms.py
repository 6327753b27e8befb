"""SPEC 1.6: hex and decimals of a document are checked together, and no less for it."""

from typing import Annotated

import pytest
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import replace

from bombyx import canonical
from bombyx.canonical import Document
from bombyx.errors import NotCanonical
from bombyx.units import Hex16, NanoText

A, B = "0a" * 16, "ff" * 16


class Mixed(Document, frozen=True):
    """Every way in which a form may stand in a type."""

    one: Hex16
    many: Annotated[list[Hex16], Meta(max_length=2)]
    amount: NanoText
    fee: NanoText
    maybe: Hex16 | UnsetType = UNSET
    text: str = ""


GOOD = Mixed(one=A, many=[A, B], amount="0", fee="10", maybe=B, text="No Hex, 01")


def test_good_documents_are_read_back() -> None:
    assert canonical.decode(canonical.encode(GOOD), Mixed) == GOOD
    assert replace(GOOD, maybe=UNSET, many=[]).many == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f'"one":"{A}"', f'"one":"{A.upper()}"'),
        (f'"one":"{A}"', f'"one":"{A[:-2]} 0"'),
        (f'["{A}"', f'["{A.upper()}"'),
        (f'"maybe":"{B}"', f'"maybe":"{B[:-1]}g"'),
        ('"amount":"0"', '"amount":"00"'),
        ('"amount":"0"', '"amount":"0,0"'),
        ('"fee":"10"', '"fee":"10\\n"'),
        ('"fee":"10"', '"fee":"-1"'),
    ],
)
def test_one_wrong_field_spoils_the_document(old: str, new: str) -> None:
    raw = canonical.encode(GOOD).decode()
    assert old in raw
    with pytest.raises(NotCanonical):
        canonical.decode(raw.replace(old, new, 1).encode(), Mixed)


def test_what_we_make_ourselves_is_checked_too() -> None:
    with pytest.raises(ValueError, match="lower case"):
        replace(GOOD, one=A.upper())
    with pytest.raises(ValueError, match="leading zeros"):
        replace(GOOD, fee="٣")
