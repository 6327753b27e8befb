"""SPEC 10.6: only processes of the same gateway ask below a link, of one process, just now."""

import hmac
import struct

import pytest

from bombyx.errors import Unauthenticated
from gateway.processes.hop import MAX_AGE_SECONDS, HopKey

KEY = HopKey(b"k" * 32)
PATH, NOW = "/links", 1_700_000_000


def shown(**changes: int) -> bytes:
    given = {"slot": 2, "epoch": 7, "now": NOW, **changes}
    return KEY.show(PATH, **given).encode()


def accepts(token: bytes, *, path: str = PATH, now: int = NOW) -> bool:
    try:
        KEY.check(token, path, slot=2, epoch=7, now=now)
    except Unauthenticated:
        return False
    return True


def test_it_is_made_as_the_specification_says() -> None:
    key = hmac.digest(b"k" * 32, b"bombyx/1/hop\0", "sha256")
    mac = hmac.digest(key, struct.pack(">IQQ", 2, 7, NOW) + PATH.encode(), "sha256")
    assert shown() == f"{NOW}.{mac.hex()}".encode()


@pytest.mark.spec("10.6-b")
def test_it_holds_for_one_process_path_and_minute() -> None:
    assert accepts(shown())
    assert accepts(shown(), now=NOW + MAX_AGE_SECONDS)
    assert accepts(shown(), now=NOW - MAX_AGE_SECONDS)
    assert not accepts(shown(), now=NOW + MAX_AGE_SECONDS + 1)
    assert not accepts(shown(), now=NOW - MAX_AGE_SECONDS - 1)
    assert not accepts(shown(), path="/v1/chat/completions")
    assert not accepts(shown(slot=1))
    assert not accepts(shown(epoch=6))
    other = HopKey(b"o" * 32).show(PATH, slot=2, epoch=7, now=NOW)
    assert not accepts(other.encode())


@pytest.mark.spec("10.6-b")
@pytest.mark.parametrize(
    "token", [b"", b".", b"1", b"a.b", b"-1.00", b"1.2.3", b"9" * 19 + b".00", b"9" * 5000 + b".0"]
)
def test_what_is_no_such_word_is_refused(token: bytes) -> None:
    assert not accepts(token)


def test_the_key_is_never_shown() -> None:
    assert "6b6b" not in repr(KEY)
