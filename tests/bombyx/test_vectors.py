"""The golden bytes in `tests/vectors`: what was once on the wire stays as it is."""

import pytest

from bombyx import canonical
from bombyx.envelope.keys import PublicSealingKey, SealingKey
from bombyx.envelope.opener import DataOpened, EndOpened, ResponseOpener
from bombyx.envelope.request import check_auth, check_commitment, open_frames, unwrap
from bombyx.link.open import WrappedKey, parse_open
from bombyx.money.receipt import Receipt, verify_receipt
from tests.factories import PAYER
from tests.vectors import make_vectors

STORED = make_vectors.load()


def raw(text: str) -> bytes:
    return bytes.fromhex(text)


@pytest.mark.parametrize("name", ["documents", "request", "response", "receipts", "link"])
def test_the_code_makes_the_stored_bytes(name: str) -> None:
    assert make_vectors.build(STORED)[name] == STORED[name]


def test_lost_or_foreign_wraps_are_made_anew() -> None:
    for kept in ([], ["00" * 1200, "00" * 1200]):
        stored = {"request": {"wraps": [{"wrap": wrap} for wrap in kept]}}
        made = make_vectors.build(stored)["request"]
        assert made["c"] == STORED["request"]["c"]
        assert made["wraps"] != STORED["request"]["wraps"]


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
