"""How a liteserver is named in the settings."""

from base64 import b64encode, urlsafe_b64encode

import pytest
from nacl.signing import SigningKey

from bombyx.errors import SetupError
from ton.chain.liteserver.place import Place, is_liteserver, parse_place

KEY = next(
    key
    for key in (bytes(SigningKey(bytes([n]) * 32).verify_key) for n in range(200))
    if b"/" in b64encode(key) and b"+" in b64encode(key)
)
STANDARD = b64encode(KEY).decode()


@pytest.mark.parametrize(
    "text",
    [
        STANDARD,
        STANDARD.rstrip("="),
        urlsafe_b64encode(KEY).decode(),
        urlsafe_b64encode(KEY).decode().rstrip("="),
        KEY.hex(),
        KEY.hex().upper(),
    ],
)
def test_a_key_is_base64_as_in_the_networks_configuration_or_hex(text: str) -> None:
    place = parse_place(f"liteserver://ls.example:4924/{text}")
    assert place == Place("ls.example:4924", "ls.example", 4924, KEY)


def test_addresses_may_be_numbers() -> None:
    assert parse_place(f"liteserver://5.9.10.47:19949/{STANDARD}").host == "5.9.10.47"
    assert parse_place(f"liteserver://[::1]:1/{STANDARD}").host == "::1"


def test_only_the_scheme_makes_a_liteserver() -> None:
    assert is_liteserver("liteserver://x")
    assert not is_liteserver("https://liteserver/api/v2")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("liteserver://", "HOST:PORT/KEY"),
        (f"liteserver://host/{STANDARD}", "HOST:PORT/KEY"),
        (f"liteserver://host:0/{STANDARD}", "HOST:PORT/KEY"),
        (f"liteserver://host:70000/{STANDARD}", "HOST:PORT/KEY"),
        (f"liteserver://:5/{STANDARD}", "HOST:PORT/KEY"),
        (f"liteserver://user:secret@host:5/{STANDARD}", "HOST:PORT/KEY"),
        (f"liteserver://[host:5/{STANDARD}", "HOST:PORT/KEY"),
        (f"liteserver://a..b:5/{STANDARD}", "HOST:PORT/KEY"),
        ("liteserver://host:5", "public key"),
        ("liteserver://host:5/", "public key"),
        ("liteserver://host:5/abc", "public key"),
        (f"liteserver://host:5/{STANDARD}x", "public key"),
        (f"liteserver://host:5/{KEY.hex()}00", "public key"),
        (f"liteserver://host:5/{'00' * 32}", "public key"),  # a point of small order
        (f"liteserver://host:5/{'ff' * 32}", "public key"),  # no point
    ],
)
def test_anything_else_says_what_belongs_there(text: str, sentence: str) -> None:
    with pytest.raises(SetupError, match=sentence) as refused:
        parse_place(text)
    assert "secret" not in str(refused.value)
