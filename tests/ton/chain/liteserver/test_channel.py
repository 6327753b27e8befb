"""Greetings and packets: whoever does not have the key cannot answer, whatever is cut how."""

import hashlib

import pytest
from nacl.bindings import crypto_scalarmult, crypto_sign_ed25519_pk_to_curve25519
from nacl.signing import SigningKey

from ton.chain.liteserver import channel as channel_module
from ton.chain.liteserver.channel import GREETING, Channel, cipher, greet, greeting_keys, keys_of
from ton.chain.reading import Nonsense

SERVER = SigningKey(b"\x01" * 32)
SECRET = bytes(range(160))
NONCE = b"\x07" * 32


def both() -> tuple[Channel, Channel]:
    _, ours = greet(bytes(SERVER.verify_key), seed=b"\x02" * 32, secret=SECRET)
    to_us, to_them = keys_of(SECRET)
    return ours, Channel(to_them, to_us)


def test_only_the_owner_of_the_key_reads_the_secret() -> None:
    greeting, _ = greet(bytes(SERVER.verify_key), seed=b"\x02" * 32, secret=SECRET)
    assert len(greeting) == GREETING
    assert SECRET[:32] not in greeting
    theirs, digest, sealed = greeting[32:64], greeting[64:96], greeting[96:]
    assert digest == hashlib.sha256(SECRET).digest()
    for key, reads in ((SERVER, True), (SigningKey(b"\x03" * 32), False)):
        point = crypto_sign_ed25519_pk_to_curve25519(theirs)
        shared = crypto_scalarmult(bytes(key.to_curve25519_private_key()), point)
        opened = cipher(greeting_keys(shared, digest)).decryptor().update(sealed)
        assert (opened == SECRET) is reads


@pytest.mark.parametrize("step", [1, 3, 100, 10_000])
def test_packets_come_whole_however_the_bytes_arrive(step: int) -> None:
    ours, theirs = both()
    payloads = [b"", b"x", bytes(1000), b"last"]
    sent = b"".join(ours.seal(payload, NONCE) for payload in payloads)
    got = []
    for at in range(0, len(sent), step):
        got += theirs.feed(sent[at : at + step])
    assert got == payloads


def test_both_directions_have_keys_of_their_own() -> None:
    ours, theirs = both()
    assert ours.feed(theirs.seal(b"hello", NONCE)) == [b"hello"]
    ours, theirs = both()
    with pytest.raises(Nonsense):
        ours.feed(ours.seal(b"hello", NONCE))


def test_a_changed_byte_is_noticed() -> None:
    for at in (4, 40, 70):
        ours, theirs = both()
        packet = bytearray(ours.seal(b"payload", NONCE))
        packet[at] ^= 1
        with pytest.raises(Nonsense, match="checksum"):
            theirs.feed(bytes(packet))


@pytest.mark.parametrize("length", [0, 63, channel_module.MAX_PACKET + 1, 2**32 - 1])
def test_an_impossible_length_is_refused_before_anything_is_kept(length: int) -> None:
    _, theirs = both()
    to_them = keys_of(SECRET)[1]
    head = cipher(to_them).encryptor().update(length.to_bytes(4, "little"))
    with pytest.raises(Nonsense, match="impossible length"):
        theirs.feed(head)
