"""SPEC 2.2: what lies inside a sealed request."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bombyx import canonical
from bombyx.envelope.plaintext import PlaintextHead, bucket, pack, unpack
from bombyx.errors import MalformedRequest
from tests.factories import hex_of

HEAD = PlaintextHead(content_type="application/json", user_cache_secret=hex_of("cache"))


@given(st.binary(max_size=20_000))
def test_head_and_body_come_back(body: bytes) -> None:
    opened = unpack(pack(HEAD, body))
    assert (opened.head, opened.body) == (HEAD, body)


def test_the_cache_secret_may_be_absent() -> None:
    head = PlaintextHead(content_type="application/json")
    assert unpack(pack(head, b"{}")).head == head


@pytest.mark.spec("2.2-a")
def test_buckets_double_to_8_kib_and_then_grow_by_an_eighth() -> None:
    sizes = [1, 1024, 1025, 2048, 2049, 4097, 8192, 8193, 9216, 9217]
    padded = [1024, 1024, 2048, 2048, 4096, 8192, 8192, 9216, 9216, 10368]
    assert [bucket(size) for size in sizes] == padded


@given(st.integers(1, 30_000_000))
def test_a_bucket_holds_its_size_and_wastes_at_most_an_eighth_above_8_kib(size: int) -> None:
    assert bucket(size) >= size
    assert bucket(bucket(size)) == bucket(size)
    if size > 8192:
        assert bucket(size) <= size + size // 8 + 1


def _raw(head: bytes, body: bytes, tail: bytes = b"") -> bytes:
    packed = struct.pack(">I", len(head)) + head + struct.pack(">I", len(body)) + body + tail
    return packed.ljust(bucket(len(packed)), b"\0")


GOOD = canonical.encode(HEAD)


@pytest.mark.spec("2.2-b")
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\0\0", id="short"),
        pytest.param(struct.pack(">I", 100) + b"x", id="head beyond the end"),
        pytest.param(struct.pack(">I", len(GOOD)) + GOOD, id="no body length"),
        pytest.param(struct.pack(">I", len(GOOD)) + GOOD + b"\0\1\0\0x", id="body beyond the end"),
        pytest.param(_raw(b"x" * 1025, b"body"), id="long head"),
        pytest.param(_raw(GOOD, b"body") + b"\0", id="longer than the bucket"),
        pytest.param(_raw(GOOD, b"body")[:-1], id="shorter than the bucket"),
        pytest.param(_raw(GOOD, b"body") + bytes(1024), id="next bucket"),
        pytest.param(_raw(GOOD, b"body", b"x"), id="padding not zero"),
        pytest.param(_raw(b"{}", b"body"), id="empty head"),
        pytest.param(_raw(GOOD.replace(b",", b", "), b"body"), id="head not canonical"),
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    assert unpack(_raw(GOOD, b"body")).body == b"body"
    with pytest.raises(MalformedRequest):
        unpack(data)


def test_the_error_tells_nothing_of_the_content() -> None:
    with pytest.raises(MalformedRequest) as caught:
        unpack(_raw(b'{"canary":1}', b"body"))
    assert "canary" not in caught.value.message


def test_an_opened_request_does_not_show() -> None:
    assert "canary" not in repr(unpack(pack(HEAD, b"canary")))
