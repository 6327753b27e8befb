"""SPEC 1.6: any bytes give a value or a typed error, within bounded time and memory.

Each reader gets noise, and good bytes with a few things broken: cut, doubled, overwritten, spliced
with another reader's. Fixed seeds, so that a run that failed fails again.
"""

import json
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bombyx.chat.sse import SseDecoder
from bombyx.envelope.frames import FrameSplitter
from bombyx.errors import BombyxError, LinkError
from bombyx.link.frames import MAX_DOCUMENT_BYTES, MORE, LinkType, Reassembler, encode_link_frame
from tests.fuzz.readers import READERS, Reader
from tests.fuzz.seeds import seeds

GOOD = seeds()
MAX_MESSAGE = 4096
INTERESTING = [b"\0", b"\xff", b"\x7f\xff\xff\xff", b'"', b"\\ud800", b"[]", b"{}", b"null", b"1e9"]


@st.composite
def broken(draw: st.DrawFn, name: str) -> bytes:
    """Good bytes of a reader with up to four changes."""
    data = draw(st.sampled_from(GOOD[name]))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.sampled_from([0, 1, 4, 40])))
        new = draw(st.one_of(st.sampled_from(INTERESTING), st.binary(max_size=8)))
        data = data[:at] + new + data[draw(st.sampled_from([at, end])) :]
        if draw(st.integers(0, 7)) == 0:
            data = data[: draw(st.integers(0, len(data)))]
    return data


def read(reader: Reader, data: bytes) -> None:
    """What a reader may raise has a code of the registry; all else fails the test."""
    try:
        reader.read(data)
    except reader.also:
        pass
    except BombyxError as error:
        if error.code == BombyxError.code or len(error.message) > MAX_MESSAGE:
            raise AssertionError("a refusal without a code, or of no bounded length") from error


def test_every_reader_has_good_bytes_to_break() -> None:
    assert set(GOOD) == set(READERS)


@pytest.mark.spec("1.6-c")
@pytest.mark.parametrize("name", READERS)
@settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_any_bytes_give_a_value_or_a_typed_error(name: str, data: st.DataObject) -> None:
    what = st.one_of(broken(name), broken(name), broken(name), st.binary(max_size=200))
    read(READERS[name], data.draw(what))


@pytest.mark.spec("1.6-c")
@pytest.mark.parametrize("name", READERS)
def test_no_cut_of_good_bytes_surprises_its_reader(name: str) -> None:
    for good in GOOD[name]:
        step = max(1, len(good) // 97)
        for end in range(0, len(good) + 1, step):
            read(READERS[name], good[:end])


@pytest.mark.spec("1.6-c")
@pytest.mark.parametrize("name", READERS)
def test_no_reader_is_surprised_by_the_bytes_of_another(name: str) -> None:
    for others in GOOD.values():
        for data in others:
            read(READERS[name], data)


VALUES: list[Any] = [
    *(None, True, 0, -1, 1.5, 2**53, 10**30, "", "x", "0" * 64, "1,2", "\u0000", "é" * 200),
    *([], {}, [[]], [None], {"a": []}, {"": ""}, ["x"] * 300),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a document."""
    yield path
    if isinstance(value, dict):
        for key, below in value.items():
            yield from places(below, (*path, key))
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from places(below, (*path, index))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """The document with another value at a place; the document itself at no place."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def documents(name: str) -> Iterator[Any]:
    for data in GOOD[name]:
        try:
            yield json.loads(data)
        except ValueError:
            continue


@pytest.mark.spec("1.6-c")
@pytest.mark.parametrize("name", [name for name in READERS if any(documents(name))])
def test_no_value_of_another_kind_surprises_a_reader(name: str) -> None:
    for document in documents(name):
        for path in places(document):
            for new in VALUES:
                text = json.dumps(
                    replaced(document, path, new),
                    separators=(",", ":"),
                    sort_keys=True,
                    ensure_ascii=False,
                )
                read(READERS[name], text.encode())


NESTED = [
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"a":' * 5000 + b"1" + b"}" * 5000,
    b"9" * 100_000,
    b'{"a":' + b"9" * 20_000 + b"}",
    b'{"a":1e999999}',
    b'"' + b"\\ud800" * 20_000 + b'"',
    b"\0" * 100_000,
]


@pytest.mark.spec("1.6-c")
@pytest.mark.parametrize("name", READERS)
def test_deep_and_long_nonsense_is_refused_in_time(name: str) -> None:
    before = time.process_time()
    for data in NESTED:
        read(READERS[name], data)
    assert time.process_time() - before < 5


class TestMemoryAndTime:
    """A peer that sends little cannot make a reader hold or do much."""

    def test_a_length_alone_reserves_nothing(self) -> None:
        splitter = FrameSplitter()
        tracemalloc.start()
        try:
            splitter.feed(b"\0\0\0\x10\0\0")
            assert tracemalloc.get_traced_memory()[1] < 2**16
        finally:
            tracemalloc.stop()

    def test_a_line_that_trickles_in_is_not_copied_for_each_piece(self) -> None:
        decoder = SseDecoder()
        decoder.feed(b"data: ")
        before = time.process_time()
        for _ in range(100_000):
            decoder.feed(b"xxxxxxxx")
        assert time.process_time() - before < 2  # copying each time takes minutes

    @pytest.mark.spec("10.1-c")
    def test_all_unfinished_documents_of_a_link_share_one_limit(self) -> None:
        """Else somebody who never says who he is could make each type's two MiB be held."""
        reader, piece = Reassembler(), bytes(20_000)
        kinds = [LinkType.HELLO, LinkType.IDENTIFY, LinkType.ACK, LinkType.SETTLE]
        for number in range(MAX_DOCUMENT_BYTES // 20_000):
            kind = kinds[number % len(kinds)]
            assert reader.split(encode_link_frame(kind | MORE, 0, piece)) == []
        with pytest.raises(LinkError):
            reader.split(encode_link_frame(LinkType.GOAWAY | MORE, 0, piece))

    def test_a_document_that_is_whole_makes_room_for_the_next(self) -> None:
        reader = Reassembler()
        for _ in range(3):
            for _ in range(100):
                reader.split(encode_link_frame(LinkType.ACK | MORE, 0, bytes(20_000)))
            (frame,) = reader.split(encode_link_frame(LinkType.ACK, 0, b""))
            assert len(frame.payload) == 2_000_000

    def test_a_document_of_the_link_ends_at_its_limit(self) -> None:
        reader = Reassembler()
        piece = encode_link_frame(LinkType.ACK | MORE, 0, bytes(20_000))
        for _ in range(MAX_DOCUMENT_BYTES // 20_000):
            assert reader.split(piece) == []
        with pytest.raises(LinkError):
            reader.split(piece)
