"""SPEC 2.8, 5.3, 15: what a worker gets before the sealed frames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bombyx.errors import LinkError
from bombyx.link.frames import MAX_PAYLOAD_BYTES
from bombyx.link.open import Open, SessionKey, WrappedKey, encode_open, parse_open
from tests.factories import seed

keys = st.builds(WrappedKey, st.just(seed("wrap", 1200))) | st.builds(
    SessionKey, st.binary(min_size=16, max_size=16), st.integers(0, 2**64 - 1)
)
opens = st.builds(
    Open,
    deadline=st.integers(0, 2**64 - 1),
    ticket=st.binary(max_size=512),
    header=st.binary(max_size=300),
    c=st.just(seed("c")),
    auth=st.just(seed("auth", 64)),
    key=keys,
)
WRAPPED = Open(7, b"ticket", b"{}", seed("c"), seed("auth", 64), WrappedKey(seed("wrap", 1200)))


@given(opens)
def test_an_open_frame_reads_back(request: Open) -> None:
    assert parse_open(encode_open(request)) == request


@pytest.mark.spec("10.4-a")
def test_the_bytes_are_as_the_specification_says() -> None:
    raw = encode_open(WRAPPED)
    start = b"\0" + (7).to_bytes(8) + b"\0\x06ticket" + b"\0\0\0\2{}"
    assert raw == start + seed("c") + seed("auth", 64) + seed("wrap", 1200)


def test_the_largest_open_frame_fits_into_one_link_frame() -> None:
    largest = Open(1, bytes(512), bytes(16 * 1024), bytes(32), bytes(64), WrappedKey(bytes(1200)))
    assert len(encode_open(largest)) <= MAX_PAYLOAD_BYTES
    assert parse_open(encode_open(largest)) == largest


RAW = encode_open(WRAPPED)


@pytest.mark.parametrize("size", [0, 5, 10, 11, 16, 20, 22, 60, len(RAW) - 1])
def test_a_torn_frame_is_refused(size: int) -> None:
    with pytest.raises(LinkError):
        parse_open(RAW[:size])


@pytest.mark.spec("10.4-a")
@pytest.mark.parametrize(
    "raw",
    [
        RAW + b"\0",
        b"\1" + RAW[1:],
        b"\2" + RAW[1:],
        encode_open(Open(1, bytes(513), b"", bytes(32), bytes(64), WrappedKey(bytes(1200)))),
        RAW[:17] + b"\xff\xff\xff\xff" + RAW[21:],
    ],
)
def test_another_kind_ticket_or_length_is_refused(raw: bytes) -> None:
    with pytest.raises(LinkError):
        parse_open(raw)


@given(st.binary(max_size=200))
def test_a_strangers_bytes_raise_nothing_but_link_errors(junk: bytes) -> None:
    for raw in (junk, RAW[: len(junk)] + junk):
        try:
            parse_open(raw)
        except LinkError:
            continue
