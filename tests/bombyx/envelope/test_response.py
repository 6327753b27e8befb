"""SPEC 3: an answer from the worker's sealer to the client's opener."""

import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bombyx import canonical
from bombyx.envelope.documents import RelayNote
from bombyx.envelope.frames import FrameType, encode_frame
from bombyx.envelope.keys import expand
from bombyx.envelope.opener import (
    DataOpened,
    EndOpened,
    ErrorOpened,
    HeadOpened,
    Opened,
    UsageSeen,
    unpad,
)
from bombyx.envelope.response import (
    MAX_PAYLOAD,
    Padding,
    ResponseSealer,
    Transcript,
    pad,
    response_secret,
)
from bombyx.errors import BombyxError, CannotOpen, MalformedFrame, RelayInterrupted, Truncated
from tests.bombyx.envelope.answers import (
    HEAD,
    SALT,
    SECRET,
    STATEMENT,
    ForgingWorker,
    H,
    answer,
    opener,
    sealer,
    split,
)
from tests.factories import seed, worker

NOTE = encode_frame(
    FrameType.RELAY_NOTE, 0, canonical.encode(RelayNote(code="link_lost", retryable=True))
)


def data_of(opened: list[Opened]) -> bytes:
    return b"".join(item.payload for item in opened if isinstance(item, DataOpened))


@pytest.mark.spec("3.1-a")
@given(
    st.lists(st.binary(max_size=1500), max_size=5),
    st.sampled_from(Padding),
    st.lists(st.integers(0, 10_000), max_size=20),
)
def test_an_answer_cut_anywhere_comes_back_whole(
    pieces: list[bytes], padding: Padding, cuts: list[int]
) -> None:
    sealing, opening = sealer(padding), opener()
    raw = SALT + sealing.head(HEAD) + b"".join(map(sealing.data, pieces)) + sealing.keepalive()
    fixed = sealing.fix()
    raw += sealing.usage(b"receipt") + sealing.end(STATEMENT)
    places = sorted(cut for cut in cuts if cut < len(raw))
    out: list[Opened] = []
    for start, end in zip([0, *places], [*places, len(raw)], strict=True):
        out += opening.feed(raw[start:end])
    opening.finish()
    assert out[0] == HeadOpened(worker("a").id, HEAD)
    assert [item.payload for item in out if isinstance(item, DataOpened)] == pieces
    assert out[-2] == UsageSeen(b"receipt", *fixed)
    assert isinstance(out[-1], EndOpened)
    assert out[-1].end.statement == STATEMENT.hex()
    assert out[-1].end.bytes == sum(map(len, pieces))
    assert sealing.ended


def test_one_byte_at_a_time() -> None:
    opening, out = opener(), list[Opened]()
    for byte in b"".join(answer(b"one", b"two")):
        out += opening.feed(bytes([byte]))
    opening.finish()
    assert data_of(out) == b"onetwo"


def test_a_payload_longer_than_a_frame_is_split() -> None:
    sealing, opening = sealer(), opener()
    payload = seed("long", MAX_PAYLOAD + 10)
    frames = sealing.head(HEAD) + sealing.data(payload)
    assert len(split(frames)) == 3
    assert max(split(frames)) <= 2**20
    assert data_of(opening.feed(SALT + frames)) == payload


@pytest.mark.spec("3.7-a")
@given(st.integers(0, 3000))
def test_bucket_padding_hides_lengths_in_steps_of_512(size: int) -> None:
    packed = pad(bytes(size), Padding.BUCKET)
    assert len(packed) % 512 == 0
    assert len(packed) - 512 < size + 4 <= len(packed)
    assert len(pad(bytes(size), Padding.EXACT)) == size + 4
    assert unpad(packed) == bytes(size)


@given(st.integers(0, 40), st.integers(0, 2000), st.integers(0, 2100))
def test_padding_of_any_length_is_zeros_and_nothing_else(size: int, more: int, at: int) -> None:
    """A sender may pad further than the next bucket; not one bit may hide in it."""
    packed = size.to_bytes(4) + b"x" * size + bytes(more)
    assert unpad(packed) == b"x" * size
    if 4 + size <= at < len(packed):
        with pytest.raises(MalformedFrame, match="padding"):
            unpad(packed[:at] + b"\1" + packed[at + 1 :])
    with pytest.raises(MalformedFrame):
        unpad((size + more + 1).to_bytes(4) + packed[4:])


@pytest.mark.spec("3.3-b", "3.4-a")
def test_the_transcript_covers_h_salt_and_every_frame() -> None:
    sealing = sealer()
    raw = SALT + sealing.head(HEAD) + sealing.data(b"x") + sealing.keepalive(3)
    assert sealing.fix() == (hashlib.sha256(H + raw).digest(), len(raw))
    transcript = Transcript(H, SALT)
    assert (transcript.digest(), transcript.length) == (hashlib.sha256(H + SALT).digest(), 32)


@pytest.mark.spec("2.9-a")
def test_the_secret_of_an_answer_depends_on_its_salt() -> None:
    assert response_secret(SECRET, SALT) == expand(SECRET, b"response" + SALT)
    assert response_secret(SECRET, SALT) != response_secret(SECRET, seed("other salt"))


def test_the_second_candidate_is_known_by_its_frame() -> None:
    sealing = sealer(secret=seed("rs 1"))
    (opened,) = opener().feed(SALT + sealing.head(HEAD))
    assert isinstance(opened, HeadOpened)
    assert opened.worker == worker("b").id


@pytest.mark.spec("3.8-a")
def test_a_worker_that_was_not_asked_cannot_answer() -> None:
    with pytest.raises(CannotOpen, match="not sealed by a worker that was asked"):
        opener().feed(SALT + sealer(secret=seed("rs 2")).head(HEAD))
    with pytest.raises(CannotOpen):
        opener(seed("other h")).feed(SALT + sealer().head(HEAD))


def test_an_error_after_data_is_followed_by_usage_and_end() -> None:
    sealing, opening = sealer(), opener()
    raw = SALT + sealing.head(HEAD) + sealing.data(b"par") + sealing.error(b'{"error":{}}')
    sealing.fix()
    out = opening.feed(raw + sealing.usage(b"r") + sealing.end(STATEMENT))
    assert ErrorOpened(b'{"error":{}}') in out
    opening.finish()


@pytest.mark.spec("3.4-c")
def test_nothing_goes_between_fixing_and_the_usage_frame_nor_after_the_end() -> None:
    sealing = sealer()
    sealing.head(HEAD)
    sealing.fix()
    forbidden: list[Callable[[], bytes]] = [
        lambda: sealing.data(b"x"),
        lambda: sealing.error(b"x"),
        sealing.keepalive,
        lambda: sealing.end(STATEMENT),
    ]
    for seal in forbidden:
        with pytest.raises(ValueError, match="nothing may be sealed"):
            seal()
    sealing.usage(b"r")
    sealing.end(STATEMENT)
    with pytest.raises(ValueError, match="nothing may be sealed"):
        sealing.data(b"x")


def test_a_salt_has_32_bytes() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        ResponseSealer(SECRET, h=H, salt=b"short", padding=Padding.BUCKET)


@pytest.mark.spec("3.2-b")
@pytest.mark.parametrize("count", range(6))
def test_an_answer_without_its_end_is_truncated(count: int) -> None:
    frames = answer(b"one", b"two", b"three")
    opening = opener()
    opening.feed(b"".join(frames[:count]))
    with pytest.raises(Truncated):
        opening.finish()


def test_the_client_knows_where_it_stands_in_the_transcript() -> None:
    opening, frames = opener(), answer(b"one")
    assert opening.position() == (hashlib.sha256(H).digest(), 0)
    opening.feed(frames[0] + frames[1] + frames[2][:3])
    read = frames[0] + frames[1]
    assert opening.position() == (hashlib.sha256(H + read).digest(), len(read))


@pytest.mark.spec("3.2-b")
def test_an_answer_torn_within_its_salt_is_truncated() -> None:
    opening = opener()
    assert opening.feed(SALT[:31]) == []
    with pytest.raises(Truncated):
        opening.finish()


@pytest.mark.spec("3.6-b")
@pytest.mark.parametrize("extra", [b"\0", encode_frame(3, 0, b""), NOTE])
@pytest.mark.parametrize("together", [True, False])
def test_bytes_after_the_end_are_an_error(extra: bytes, *, together: bool) -> None:
    opening = opener()
    raw = b"".join(answer(b"one"))
    if not together:
        opening.feed(raw)
    with pytest.raises(MalformedFrame, match="after its end"):
        opening.feed(raw + extra if together else extra)


@pytest.mark.spec("3.5-b")
def test_a_relay_note_is_reported_as_unauthenticated() -> None:
    frames = answer(b"one")
    for sent in (frames[:1], frames[:2]):
        opening = opener()
        opening.feed(b"".join(sent))
        with pytest.raises(RelayInterrupted, match=r"unauthenticated.*link_lost"):
            opening.feed(NOTE)
        with pytest.raises(Truncated):
            opening.finish()


def test_an_answer_of_a_note_alone_is_an_error() -> None:
    with pytest.raises(RelayInterrupted):
        opener().feed(SALT + NOTE)


@pytest.mark.spec("3.5-a")
@pytest.mark.parametrize(
    "body", [b"", b"canary", b'{"code":"canary canary","retryable":true}', b'{"code": "a"}']
)
def test_a_note_that_is_none_is_refused_without_showing_it(body: bytes) -> None:
    opening = opener()
    opening.feed(answer()[0])
    with pytest.raises(MalformedFrame) as caught:
        opening.feed(encode_frame(FrameType.RELAY_NOTE, 0, body))
    assert "canary" not in caught.value.message


@pytest.mark.spec("3.2-a")
@pytest.mark.parametrize("frame_type", list(FrameType))
@pytest.mark.parametrize("flags", [0, 1, 2, 3, 128])
def test_the_final_mark_belongs_on_the_end_frame_alone(frame_type: FrameType, flags: int) -> None:
    if flags == (1 if frame_type == FrameType.END else 0):
        return
    liar, opening = ForgingWorker(), opener()
    if frame_type == FrameType.HEAD:
        raw = SALT + liar.frame(frame_type, bytes(4), flags)
    elif frame_type in (FrameType.USAGE, FrameType.RELAY_NOTE):
        raw = liar.head() + liar.clear(frame_type, NOTE[6:], flags)
    elif frame_type == FrameType.END:
        raw = liar.head() + liar.end(flags=flags)
    else:
        raw = liar.head() + liar.frame(frame_type, bytes(4), flags)
    with pytest.raises(MalformedFrame, match="final mark"):
        opening.feed(raw)


@pytest.mark.spec("3.1-c")
def test_the_head_is_the_first_frame_and_no_other() -> None:
    liar = ForgingWorker()
    with pytest.raises(MalformedFrame, match="head is the first"):
        opener().feed(SALT + liar.frame(FrameType.DATA, bytes(4)))
    with pytest.raises(MalformedFrame, match="head is the first"):
        opener().feed(SALT + liar.clear(FrameType.USAGE, b"r"))
    again = ForgingWorker()
    with pytest.raises(MalformedFrame, match="head is the first"):
        opener().feed(again.head() + again.frame(FrameType.HEAD, bytes(4)))


@pytest.mark.spec("3.8-b")
@pytest.mark.parametrize(
    "frame",
    [
        pytest.param((FrameType.DATA, b"\0\0\0"), id="no length"),
        pytest.param((FrameType.DATA, b"\0\0\0\5data"), id="length beyond the end"),
        pytest.param((FrameType.DATA, b"\0\0\0\1ax"), id="padding not zero"),
        pytest.param((FrameType.ERROR, b"\0\0\0\1ax"), id="error padding"),
        pytest.param((FrameType.PADDING, b"\0\0x"), id="padding frame with data"),
        pytest.param((FrameType.END, b"{}", 1), id="end without fields"),
        pytest.param((FrameType.END, b'{"canary":1}', 1), id="end of another kind"),
    ],
)
def test_a_worker_that_seals_nonsense_is_refused(frame: tuple[int, bytes, int]) -> None:
    liar, opening = ForgingWorker(), opener()
    opening.feed(liar.head())
    with pytest.raises(MalformedFrame) as caught:
        opening.feed(liar.frame(*frame))
    assert "canary" not in caught.value.message


@pytest.mark.parametrize("head", [b"", b"{}", b'{"headers":[],"status":99}', b'{"status":200}'])
def test_a_head_that_is_none_is_refused(head: bytes) -> None:
    with pytest.raises(MalformedFrame, match="ResponseHead"):
        opener().feed(SALT + ForgingWorker().frame(FrameType.HEAD, pad(head, Padding.EXACT)))


@pytest.mark.spec("3.8-b")
@pytest.mark.parametrize("count", [0, 4, 2**53 - 1])
def test_an_end_that_counts_other_bytes_is_refused(count: int) -> None:
    liar, opening = ForgingWorker(), opener()
    opening.feed(liar.head() + liar.frame(FrameType.DATA, pad(b"abc", Padding.EXACT)))
    with pytest.raises(MalformedFrame, match="counts other bytes"):
        opening.feed(liar.end(count=count))
    with pytest.raises(Truncated):
        opening.finish()


@given(st.binary(max_size=300))
@settings(max_examples=60)
def test_a_strangers_bytes_raise_nothing_but_named_errors(junk: bytes) -> None:
    for start in (b"", SALT, answer(b"one")[0]):
        opening = opener()
        try:
            assert data_of(opening.feed(start + junk)) == b""
        except BombyxError:
            continue
        with pytest.raises(Truncated):
            opening.finish()


def test_what_was_opened_does_not_show() -> None:
    assert "canary" not in repr(opener().feed(b"".join(answer(b"canary"))))
