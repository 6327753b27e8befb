"""SPEC 1.6: one spelling for each document, the one of RFC 8785."""

import hashlib
from typing import Any

import msgspec
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from bombyx import canonical
from bombyx.canonical import Document
from bombyx.envelope.header import Header
from bombyx.errors import NotCanonical
from bombyx.money.statement import Statement
from bombyx.units import Count
from tests import factories

keys = st.text("abcdefghijklmnopqrstuvwxyz0123456789_", min_size=1, max_size=12)
texts = st.text(st.characters(exclude_categories=["Cs"]))
leaves = texts | st.integers(0, 2**53 - 1) | st.booleans()
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4)
)
documents = st.dictionaries(keys, values, max_size=8)


class Inner(Document, frozen=True):
    flag: bool


class Sample(Document, frozen=True):
    count: Count
    text: str
    items: list[Inner]
    extra: str | msgspec.UnsetType = msgspec.UNSET


GOOD = b'{"count":7,"items":[{"flag":true}],"text":"A"}'


@pytest.mark.spec("1.6-a")
@given(documents)
def test_the_encoding_is_that_of_rfc_8785(document: dict[str, Any]) -> None:
    assert canonical.encode(document) == rfc8785.dumps(document)


@given(texts)
def test_a_typed_document_encodes_as_rfc_8785_and_reads_back(text: str) -> None:
    document = Sample(text=text, count=3, items=[Inner(flag=False)], extra=text)
    raw = canonical.encode(document)
    assert raw == rfc8785.dumps(msgspec.to_builtins(document))
    assert canonical.decode(raw, Sample) == document


def test_every_control_character_encodes_as_rfc_8785() -> None:
    document = {"a": "".join(map(chr, range(0x20))) + '\x7f"\\/\u2028\ud7ff\ue000\U0010ffff'}
    assert canonical.encode(document) == rfc8785.dumps(document)


def test_the_digest_is_sha256_of_the_encoding() -> None:
    document = canonical.decode(GOOD, Sample)
    assert canonical.digest(document) == hashlib.sha256(GOOD).digest()


def test_an_absent_field_is_omitted() -> None:
    document = Sample(count=7, text="A", items=[Inner(flag=True)])
    assert canonical.encode(document) == GOOD


@pytest.mark.spec("1.6-a")
@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b'{"count":7,"count":7,"items":[{"flag":true}],"text":"A"}', id="duplicate"),
        pytest.param(b'{"count":7,"items":[{"flag":true,"flag":true}],"text":"A"}', id="nested"),
        pytest.param(b'{"count":null,"items":[{"flag":true}],"text":"A"}', id="null"),
        pytest.param(b'{"count":7,"extra":null,"items":[{"flag":true}],"text":"A"}', id="null2"),
        pytest.param(GOOD.replace(b"7", b"1.0"), id="float"),
        pytest.param(GOOD.replace(b"7", b"1e2"), id="exponent"),
        pytest.param(GOOD.replace(b"7", b"-0"), id="minus zero"),
        pytest.param(GOOD.replace(b"7", b"-0.0"), id="float minus zero"),
        pytest.param(GOOD.replace(b"7", b"-1"), id="negative"),
        pytest.param(GOOD.replace(b"7", b"07"), id="leading zero"),
        pytest.param(GOOD.replace(b"7", b"9007199254740992"), id="2^53"),
        pytest.param(GOOD.replace(b"7", b"9007199254740993"), id="2^53+1"),
        pytest.param(GOOD.replace(b"7", b"9" * 5000), id="5000 digits"),
        pytest.param(GOOD.replace(b"7", b"NaN"), id="NaN"),
        pytest.param(GOOD.replace(b"7", b"true"), id="boolean for a number"),
        pytest.param(GOOD.replace(b"7", b'"7"'), id="text for a number"),
        pytest.param(GOOD.replace(b"true", b"1"), id="number for a boolean"),
        pytest.param(GOOD.replace(b'"A"', rb'"\u0041"'), id="needless escape"),
        pytest.param(GOOD.replace(b'"A"', rb'"\/"'), id="escaped slash"),
        pytest.param(GOOD.replace(b'"A"', rb'"\u000A"'), id="long escape"),
        pytest.param(GOOD.replace(b'"A"', rb'"\u001F"'), id="upper-case escape"),
        pytest.param(GOOD.replace(b'"A"', rb'"\ud83d\ude00"'), id="escaped pair"),
        pytest.param(GOOD.replace(b'"A"', rb'"\ud800"'), id="lone high surrogate"),
        pytest.param(GOOD.replace(b'"A"', rb'"\udc00\ud800"'), id="lone low surrogate"),
        pytest.param(GOOD.replace(b'"A"', b'"\xed\xa0\x80"'), id="surrogate in UTF-8"),
        pytest.param(GOOD.replace(b'"A"', b'"\xc1\x81"'), id="overlong UTF-8"),
        pytest.param(GOOD.replace(b'"A"', b'"\xff"'), id="not UTF-8"),
        pytest.param(GOOD.replace(b'"text"', rb'"te\u0078t"'), id="escaped key"),
        pytest.param(GOOD + b"\n", id="trailing newline"),
        pytest.param(b" " + GOOD, id="leading space"),
        pytest.param(GOOD.replace(b":7", b": 7"), id="inner space"),
        pytest.param(b"\xef\xbb\xbf" + GOOD, id="byte order mark"),
        pytest.param(b'{"a":1,' + GOOD[1:], id="unknown key"),
        pytest.param(b'{"text":"A","items":[{"flag":true}],"count":7}', id="order"),
        pytest.param(b'{"count":7,"items":[{"flag":true}]}', id="missing key"),
        pytest.param(GOOD[:-1], id="torn"),
        pytest.param(GOOD + b"{}", id="two documents"),
        pytest.param(b"", id="empty"),
        pytest.param(b"[]", id="array"),
        pytest.param(b"null", id="null document"),
        pytest.param(b'{"items":' * 10_000, id="deep"),
        pytest.param(b"[" * 100_000, id="deep array"),
    ],
)
def test_anything_but_the_canonical_bytes_is_refused(raw: bytes) -> None:
    assert canonical.decode(GOOD, Sample).count == 7
    with pytest.raises(NotCanonical):
        canonical.decode(raw, Sample)


@pytest.mark.spec("1.6-a")
@given(st.data())
def test_one_changed_byte_is_refused_or_another_document(data: st.DataObject) -> None:
    raw = bytearray(canonical.encode(factories.statement()))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    try:
        document = canonical.decode(bytes(raw), Statement)
    except NotCanonical:
        return
    assert document != factories.statement()
    assert canonical.encode(document) == raw


@given(documents)
@settings(max_examples=15)
def test_foreign_documents_are_refused_as_such(document: dict[str, Any]) -> None:
    with pytest.raises(NotCanonical):
        canonical.decode(canonical.encode(document), Header)


def test_wire_documents_keep_to_the_restricted_alphabet_of_keys() -> None:
    allowed = set("abcdefghijklmnopqrstuvwxyz0123456789_")
    pending: list[type[Document]] = [Document]
    while pending:
        kind = pending.pop()
        pending += kind.__subclasses__()
        assert all(set(name) <= allowed for name in kind.__struct_fields__), kind
