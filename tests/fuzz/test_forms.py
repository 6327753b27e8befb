"""SPEC 1.6: hex and decimal text is taken exactly when the table says so, field by field.

The forms of a document's fields are checked together, so what one field lacks must not be made up
for by another.
"""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bombyx import canonical
from bombyx.canonical import Document
from bombyx.envelope.header import Header
from bombyx.errors import NotCanonical
from bombyx.link.documents import SignedRefusal
from bombyx.money.receipt import Receipt
from bombyx.money.statement import Statement
from tests import factories

HEX16, HEX32, HEX64 = (re.compile(f"[0-9a-f]{{{size}}}") for size in (32, 64, 128))
DECIMAL = re.compile(r"0|[1-9][0-9]{0,17}")
TICKET = re.compile(r"(?:[0-9a-f]{2}){0,512}")
KINDS: dict[type[Document], tuple[Document, dict[str, re.Pattern[str]]]] = {
    Header: (
        factories.header(),
        {"id": HEX16, "gateway": HEX32, "payer": HEX32, "max_cost_nano": DECIMAL},
    ),
    Statement: (
        factories.statement(),
        {
            "c": HEX32,
            "boot": HEX16,
            "prev": HEX32,
            "offer": HEX32,
            "ticket": TICKET,
            "amount_nano": DECIMAL,
            "fee_nano": DECIMAL,
            "charge_nano": DECIMAL,
        },
    ),
    Receipt: (factories.receipt(), {"signature": HEX64}),
    SignedRefusal: (factories.refusal(), {"signature": HEX64}),
}
ODD = " ,.+-_xXgG\nA\x00\u0661\uff11\u00b2"
texts = st.one_of(
    st.text("0123456789abcdef" + ODD, max_size=6),
    st.text("0123456789abcdef", min_size=30, max_size=66),
    st.integers(-(10**20), 10**20).map(str),
)


@st.composite
def nearly(draw: st.DrawFn, good: str) -> str:
    """A good value with one character more, less or other."""
    at = draw(st.integers(0, len(good)))
    new = draw(st.text("0f" + ODD, max_size=1))
    return good[:at] + new + good[at + draw(st.integers(0, 1)) :]


@pytest.mark.spec("1.6-b")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(data=st.data())
def test_a_document_is_taken_iff_each_of_its_texts_has_its_form(
    kind: type[Document], data: st.DataObject
) -> None:
    good, forms = KINDS[kind]
    fields: dict[str, Any] = json.loads(canonical.encode(good))
    for name in data.draw(st.lists(st.sampled_from(sorted(forms)), max_size=3, unique=True)):
        fields[name] = data.draw(st.one_of(nearly(fields[name]), texts))
    expected = all(form.fullmatch(fields[name]) for name, form in forms.items())
    try:
        canonical.decode(canonical.encode(fields), kind)
        taken = True
    except NotCanonical:
        taken = False
    assert taken == expected
