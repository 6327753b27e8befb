"""The golden bytes in `tests/vectors`: what was once on the wire stays as it is."""

import msgspec
import pytest

from bombyx import canonical
from bombyx.envelope.keys import PublicSealingKey, SealingKey
from bombyx.envelope.opener import DataOpened, EndOpened, ResponseOpener
from bombyx.envelope.request import (
    check_auth,
    check_commitment,
    open_frames,
    parse_request,
    unwrap,
)
from bombyx.link.frames import Reassembler
from bombyx.link.mux import Mux
from bombyx.link.open import WrappedKey, parse_open
from bombyx.money.receipt import Receipt, verify_receipt
from tests.factories import PAYER
from tests.fuzz.readers import READERS
from tests.vectors import make_vectors
from tests.vectors.negative import refusal

STORED = make_vectors.load()
SECTIONS = ["documents", "request", "response", "receipts", "link", "channel", "negative"]
NEGATIVE = STORED["negative"]["cases"]


def raw(text: str) -> bytes:
    return bytes.fromhex(text)


@pytest.mark.parametrize("name", SECTIONS)
def test_the_code_makes_the_stored_bytes(name: str) -> None:
    # By way of JSON, which has no tuples.
    made = msgspec.json.decode(msgspec.json.encode(make_vectors.build()[name]))
    assert made == STORED[name]


@pytest.mark.parametrize(
    "case", NEGATIVE, ids=[f"{case['reader']}: {case['case']}" for case in NEGATIVE]
)
def test_what_must_be_refused_is_refused(case: dict[str, str]) -> None:
    assert refusal(READERS[case["reader"]].read, raw(case["input"])) == case["code"]


def test_a_negative_vector_that_is_read_is_no_vector() -> None:
    with pytest.raises(ValueError, match="without complaint"):
        refusal(READERS["header"].read, STORED["request"]["header"].encode())


def test_the_stored_request_is_the_one_of_its_parts() -> None:
    stored = STORED["request"]
    head, frames = parse_request(raw(stored["encoded"]))
    assert head.header.raw.decode() == stored["header"]
    assert (head.c.hex(), head.auth.hex()) == (stored["c"], stored["auth"])
    assert [wrap.hex() for wrap in head.wraps] == [entry["wrap"] for entry in stored["wraps"]]
    assert frames.hex() == stored["frames"]


@pytest.mark.parametrize("number", [0, 1])
def test_each_stored_wrap_opens_with_its_seeds(number: int) -> None:
    stored = STORED["request"]
    entry, h, c = stored["wraps"][number], raw(stored["h"]), raw(stored["c"])
    key = SealingKey.from_seeds(raw(entry["mlkem_seed"]), raw(entry["x25519_seed"]))
    keys = unwrap(raw(entry["wrap"]), key, worker=raw(entry["worker"]), h=h, c=c)
    assert keys.dek == raw(stored["dek"])
    assert keys.response_secret == raw(stored["response_secrets"][number])
    check_commitment(keys, h=h, c=c, req_ct_hash=raw(stored["req_ct_hash"]))
    check_auth(c, raw(stored["auth"]), PAYER.public_key)
    opened = open_frames(keys.dek, h, raw(stored["frames"]))
    assert opened.body.decode() == stored["body"]
    PublicSealingKey.from_bytes(key.public_bytes)


@pytest.mark.parametrize("padding", ["bucket", "exact"])
def test_the_stored_answer_opens(padding: str) -> None:
    stored = STORED["response"]
    opener = ResponseOpener(raw(stored["h"]), {"worker": raw(stored["secret"])})
    opened = opener.feed(raw(stored["salt"]))
    opened += opener.feed(b"".join(raw(step["frame"]) for step in stored[padding]))
    opener.finish()
    assert DataOpened(b"data: 1\n\n") in opened
    assert isinstance(opened[-1], EndOpened)


def test_the_stored_receipts_verify() -> None:
    key = raw(STORED["receipts"]["receipt_key"])
    for entry in STORED["receipts"]["receipts"]:
        verify_receipt(canonical.decode(entry["receipt"].encode(), Receipt), key)


def test_the_stored_open_frame_holds_the_stored_wrap() -> None:
    opened = parse_open(raw(STORED["link"]["open"]["wrapped"]))
    assert opened.key == WrappedKey(raw(STORED["request"]["wraps"][0]["wrap"]))


def test_each_stored_link_frame_reads_as_it_says() -> None:
    for entry in STORED["link"]["frames"]:
        (frame,) = Reassembler().split(raw(entry["frame"]))
        assert (frame.type, frame.stream) == (entry["type"], entry["stream"])
        assert frame.payload.hex() == entry["payload"]


def test_each_stored_link_message_reads_as_it_says() -> None:
    for entry in STORED["link"]["messages"]:
        mux = Mux()
        mux.open(7)
        frames = mux.receive(raw(entry["message"]))
        assert [frame.type for frame in frames] == entry["types"]
        assert frames[-1].payload.decode() == entry.get("last_payload", "")
