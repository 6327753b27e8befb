"""SPEC 2.7 to 2.9: a sealed request, from the client's hands to the worker's."""

import hashlib
import struct
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bombyx.envelope.frames import FINAL, aad, encode_frame
from bombyx.envelope.keys import FrameCipher, PublicSealingKey, expand
from bombyx.envelope.plaintext import PlaintextHead, pack
from bombyx.envelope.request import (
    FRAME_PLAINTEXT,
    Entropy,
    check_auth,
    check_commitment,
    commitment,
    open_frames,
    parse_request,
    seal_frames,
    seal_request,
    unwrap,
)
from bombyx.errors import (
    BadAuth,
    CannotOpen,
    MalformedFrame,
    MalformedHeader,
    MalformedRequest,
)
from bombyx.signing import Kind
from tests import factories
from tests.factories import BODY, GATEWAY, PAYER, seed, worker

TWO = [worker("a"), worker("b")]
DEK, H = seed("dek"), seed("h")
HEAD = PlaintextHead(content_type="application/json")


@given(st.binary(max_size=5000))
@settings(max_examples=20)
def test_each_candidate_opens_what_was_sealed(body: bytes) -> None:
    head, frames = parse_request(factories.sealed_request(body, TWO).encode())
    h, c = head.header.h, head.c
    for number, keys in enumerate(TWO):
        opened = unwrap(head.wraps[number], keys.sealing, worker=bytes.fromhex(keys.id), h=h, c=c)
        assert opened.dek == seed("dek")
        assert opened.response_secret == seed(f"rs {number}")
        check_commitment(opened, h=h, c=c, req_ct_hash=hashlib.sha256(frames).digest())
        assert open_frames(opened.dek, h, frames).body == body
    check_auth(c, head.auth, PAYER.public_key)


@pytest.mark.spec("2.8-a")
def test_the_bytes_are_as_the_specification_says() -> None:
    sealed = factories.sealed_request(workers=TWO)
    raw = sealed.header.raw
    expected = struct.pack(">I", len(raw)) + raw + sealed.c + sealed.auth + b"\x02"
    assert sealed.encode() == expected + sealed.wraps[0] + sealed.wraps[1] + sealed.frames
    assert all(len(wrap) == 1200 for wrap in sealed.wraps)
    assert sealed.req_ct_hash == hashlib.sha256(sealed.frames).digest()
    assert sealed.c == expand(DEK, b"commit" + sealed.header.h + sealed.req_ct_hash)


def test_the_plaintext_shows_nowhere() -> None:
    sealed = factories.sealed_request(b"canary" * 10)
    assert b"canary" not in sealed.encode()
    assert "canary" not in repr(sealed)
    assert seed("dek").hex() not in repr(sealed)


@pytest.mark.spec("2.8-b")
@pytest.mark.parametrize(
    ("size", "count"),
    [(1024, 1), (FRAME_PLAINTEXT, 1), (FRAME_PLAINTEXT + 1, 2), (3 * FRAME_PLAINTEXT, 3)],
)
def test_every_frame_but_the_last_is_full(size: int, count: int) -> None:
    frames = seal_frames(DEK, H, bytes(size))
    sizes = [FRAME_PLAINTEXT] * (count - 1) + [size - FRAME_PLAINTEXT * (count - 1)]
    at = 0
    for seq, expected in enumerate(sizes):
        flags, length = frames[at + 1], int.from_bytes(frames[at + 2 : at + 6])
        assert (frames[at], flags, length) == (0, int(seq == count - 1), expected + 16)
        at += 6 + length
    assert at == len(frames)


def test_a_body_of_several_frames_comes_back() -> None:
    body = seed("long", 2 * 2**20)
    assert open_frames(DEK, H, seal_frames(DEK, H, pack(HEAD, body))).body == body


def _frames(*pieces: bytes, types: bytes = b"", flags: bytes = b"") -> bytes:
    cipher = FrameCipher(DEK)
    types = types or bytes(len(pieces))
    flags = flags or bytes(len(pieces) - 1) + b"\x01"
    return b"".join(
        encode_frame(t, f, cipher.seal(seq, piece, aad(H, seq, t, f)))
        for seq, (piece, t, f) in enumerate(zip(pieces, types, flags, strict=True))
    )


PACKED = pack(HEAD, BODY)


@pytest.mark.spec("2.8-b")
@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(b"", id="none"),
        pytest.param(_frames(PACKED)[:-1], id="torn"),
        pytest.param(_frames(PACKED) + b"\0", id="trailing byte"),
        pytest.param(_frames(PACKED, flags=b"\0"), id="no final mark"),
        pytest.param(_frames(PACKED, b"", flags=b"\1\1"), id="two final marks"),
        pytest.param(_frames(PACKED, types=b"\1"), id="another type"),
        pytest.param(_frames(PACKED, flags=b"\3"), id="another flag"),
        pytest.param(_frames(PACKED[:512], PACKED[512:]), id="short first frame"),
    ],
)
def test_other_framings_are_refused(frames: bytes) -> None:
    assert open_frames(DEK, H, _frames(PACKED)).body == BODY
    with pytest.raises(MalformedFrame):
        open_frames(DEK, H, frames)


@pytest.mark.spec("2.9-e")
def test_frames_in_another_order_or_of_another_request_do_not_open() -> None:
    whole = seal_frames(DEK, H, pack(HEAD, seed("long", 2 * 2**20)))
    size = 6 + 2**20
    for frames in (whole[size : 2 * size] + whole[:size] + whole[2 * size :], whole[size:]):
        with pytest.raises(CannotOpen):
            open_frames(DEK, H, frames)
    with pytest.raises(CannotOpen):
        open_frames(DEK, seed("other h"), whole)


@pytest.mark.spec("2.9-c")
def test_a_wrap_is_bound_to_worker_header_and_commitment() -> None:
    sealed = factories.sealed_request(workers=TWO)
    first, second = TWO
    right = {"worker": bytes.fromhex(first.id), "h": sealed.header.h, "c": sealed.c}
    unwrap(sealed.wraps[0], first.sealing, **right)
    for name in right:
        with pytest.raises(CannotOpen):
            unwrap(sealed.wraps[0], first.sealing, **right | {name: seed("other")})
    with pytest.raises(CannotOpen):
        unwrap(sealed.wraps[0], second.sealing, **right)
    with pytest.raises(CannotOpen):
        unwrap(sealed.wraps[0] + b"\0", first.sealing, **right)


def test_a_wrap_of_another_size_inside_does_not_open() -> None:
    # HPKE blobs of 1200 bytes hold 64 bytes; a longer blob is refused by its own length.
    public = PublicSealingKey.from_bytes(worker().sealing.public_bytes)
    blob = public.wrap(b"x" * 63, b"bombyx/1/wrap\0" + seed("w") + seed("h") + seed("c"))
    with pytest.raises(CannotOpen):
        unwrap(blob, worker().sealing, worker=seed("w"), h=seed("h"), c=seed("c"))


@pytest.mark.spec("2.9-c")
def test_the_commitment_fixes_key_header_and_ciphertext() -> None:
    sealed = factories.sealed_request()
    keys = unwrap(
        sealed.wraps[0],
        worker().sealing,
        worker=bytes.fromhex(worker().id),
        h=sealed.header.h,
        c=sealed.c,
    )
    right = {"h": sealed.header.h, "c": sealed.c, "req_ct_hash": sealed.req_ct_hash}
    check_commitment(keys, **right)
    for name in right:
        with pytest.raises(CannotOpen):
            check_commitment(keys, **right | {name: seed("other")})
    with pytest.raises(CannotOpen):
        check_commitment(replace(keys, dek=seed("other")), **right)


@pytest.mark.spec("2.7-a")
def test_only_the_payer_signs_for_the_request() -> None:
    c = seed("c")
    auth = PAYER.sign(Kind.REQUEST, {"c": c.hex()})
    check_auth(c, auth, PAYER.public_key)
    for args in (
        (seed("d"), auth, PAYER.public_key),
        (c, auth, GATEWAY.public_key),
        (c, bytes(64), PAYER.public_key),
        (c, auth, bytes(32)),
    ):
        with pytest.raises(BadAuth):
            check_auth(*args)


def test_sealing_wants_one_key_and_one_secret_for_each_candidate() -> None:
    header = factories.hashed_header(TWO)
    keys = [PublicSealingKey.from_bytes(of.sealing.public_bytes) for of in TWO]
    secrets = (seed("1"), seed("2"))
    for some_keys, some_secrets in ((keys[:1], secrets), (keys, secrets[:1])):
        with pytest.raises(ValueError, match="per candidate"):
            seal_request(
                header,
                HEAD,
                BODY,
                keys=some_keys,
                payer=PAYER,
                entropy=Entropy(DEK, some_secrets),
            )


RAW = factories.sealed_request(workers=TWO).encode()
HEADER_END = 4 + int.from_bytes(RAW[:4])


@pytest.mark.spec("2.8-a")
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(RAW[:3], id="torn length"),
        pytest.param(RAW[: HEADER_END + 96], id="torn before the wraps"),
        pytest.param(RAW[: HEADER_END + 97 + 2400], id="no frames"),
        pytest.param(RAW[: HEADER_END + 96] + b"\1" + RAW[HEADER_END + 97 :], id="one wrap"),
        pytest.param(RAW[: HEADER_END + 96] + b"\0" + RAW[HEADER_END + 97 :], id="no wrap"),
        pytest.param(b"\xff" * 4 + RAW[4:], id="long header"),
    ],
)
def test_a_request_that_is_not_whole_is_refused(data: bytes) -> None:
    parse_request(RAW)
    with pytest.raises(MalformedRequest):
        parse_request(data)


def test_a_header_too_long_or_malformed_is_refused() -> None:
    for size, filler in ((HEADER_END - 5, b""), (17_000, bytes(20_000))):
        with pytest.raises(MalformedHeader):
            parse_request(struct.pack(">I", size) + RAW[4:] + filler)


@given(st.binary(max_size=200), st.integers(0, len(RAW)))
@settings(max_examples=60)
def test_a_strangers_bytes_raise_nothing_but_named_errors(junk: bytes, cut: int) -> None:
    for data in (junk, RAW[:cut] + junk, RAW[:cut] + junk + RAW[cut + len(junk) :]):
        try:
            parse_request(data)
        except (MalformedRequest, MalformedHeader):
            continue


@pytest.mark.spec("2.9-a")
def test_commitment_is_the_key_schedule_of_the_specification() -> None:
    assert commitment(DEK, H, seed("bh")) == expand(DEK, b"commit" + H + seed("bh"), 32)


def test_flags_of_the_last_frame_are_final() -> None:
    assert seal_frames(DEK, H, bytes(1024))[1] == FINAL
