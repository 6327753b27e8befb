"""No second quote is accepted for the first: every byte is signed, exact or canonical (SPEC 5)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bombyx import canonical
from bombyx.attestation.steps import Result, StepName
from bombyx.errors import NotCanonical
from tests.bombyx.attestation.world import (
    COLLATERAL,
    KEYSET,
    PLATFORM,
    Offer,
    body,
    evidence_of,
    examine_offer,
)

QUOTE = PLATFORM.quote(body())
STRIDE = 3
"""Every third byte: the sweep takes about a second; prime to the layout's even offsets."""


def accepted(quote: bytes) -> bool:
    it = Offer(KEYSET, evidence_of(quote, COLLATERAL), COLLATERAL)
    return examine_offer(it).refusal is None


def flipped(at: int, bit: int) -> bytes:
    quote = bytearray(QUOTE)
    quote[at] ^= 1 << bit
    return bytes(quote)


def test_the_unchanged_quote_is_accepted() -> None:
    assert accepted(QUOTE)


@pytest.mark.spec("17.1-e")
def test_no_byte_can_change() -> None:
    assert [at for at in range(0, len(QUOTE), STRIDE) if accepted(flipped(at, at % 8))] == []


@pytest.mark.spec("17.1-e")
def test_the_lengths_and_the_embedded_root_cannot_change() -> None:
    places = [*range(632, 636), *range(764, 770), *range(1218, 1220), *range(1250, 1260)]
    places += range(len(QUOTE) - 64, len(QUOTE))
    assert [at for at in places if accepted(flipped(at, 0))] == []


@settings(max_examples=30)
@given(st.binary(min_size=1, max_size=40))
def test_nothing_can_be_appended(junk: bytes) -> None:
    assert not accepted(QUOTE + junk)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(canonical.encode(COLLATERAL)) - 1), st.integers(0, 6))
def test_collateral_cannot_change_under_its_digest(at: int, bit: int) -> None:
    data = bytearray(canonical.encode(COLLATERAL))
    data[at] ^= 1 << bit
    try:
        changed = canonical.decode(bytes(data), type(COLLATERAL))
    except NotCanonical:
        return
    it = Offer(KEYSET, evidence_of(QUOTE, COLLATERAL), changed)
    steps = {step.name: step.result for step in examine_offer(it).steps}
    assert steps[StepName.COLLATERAL_PRESENT] is Result.FAIL
