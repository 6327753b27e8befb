"""Our suite against published vectors, by way of the slow one in `tests/vectors` (SPEC 2.9).

The library gives no access to its KEM's randomness. So the slow implementation is held to the
published bytes, and the library must open what the slow one seals and seal what it can open.
"""

import hashlib

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bombyx.envelope.keys import WRAP_BYTES, PublicSealingKey, SealingKey
from bombyx.errors import CannotOpen
from tests.factories import seed
from tests.vectors import make_vectors
from tests.vectors.reference_hpke import key_schedule, wrap, xwing_encapsulate, xwing_secret

PUBLISHED = msgspec.json.decode((make_vectors.FOLDER / "hpke.json").read_bytes())
XWING = PUBLISHED["xwing"]


def seeds_of(xwing_seed: str) -> tuple[bytes, bytes]:
    """X-Wing keeps one seed; this is how it becomes the two that our keys are made of."""
    both = hashlib.shake_256(bytes.fromhex(xwing_seed)).digest(96)
    return both[:64], both[64:]


def key_of(xwing_seed: str) -> SealingKey:
    return SealingKey.from_seeds(*seeds_of(xwing_seed))


def decapsulate(xwing_seed: str, enc: bytes) -> bytes:
    """With the library's ML-KEM and X25519, and the combiner alone of our own."""
    mlkem_seed, x25519_seed = seeds_of(xwing_seed)
    secret = MLKEM768PrivateKey.from_seed_bytes(mlkem_seed).decapsulate(enc[:1088])
    own = X25519PrivateKey.from_private_bytes(x25519_seed)
    shared = own.exchange(X25519PublicKey.from_public_bytes(enc[1088:]))
    return xwing_secret(secret, shared, enc[1088:], own.public_key().public_bytes_raw())


@pytest.mark.spec("2.9-b")
@pytest.mark.parametrize("number", range(len(XWING)))
def test_the_kem_gives_the_published_bytes(number: int) -> None:
    vector = XWING[number]
    public = key_of(vector["seed"]).public_bytes
    secret, enc = xwing_encapsulate(public, bytes.fromhex(vector["eseed"]))
    assert secret.hex() == vector["ss"]
    assert decapsulate(vector["seed"], enc) == secret
    assert vector.get("pk", public.hex()) == public.hex()
    assert vector.get("ct", enc.hex()) == enc.hex()


@pytest.mark.spec("2.9-b")
def test_the_key_schedule_is_the_one_of_rfc_9180() -> None:
    vector = PUBLISHED["key_schedule"]
    kem, kdf, aead = vector["suite"]
    made = key_schedule(
        bytes.fromhex(vector["shared_secret"]),
        bytes.fromhex(vector["info"]),
        suite=(kem, kdf, aead),
        key_bytes=16,
    )
    assert made.key.hex() == vector["key"]
    assert made.base_nonce.hex() == vector["base_nonce"]
    assert made.exporter_secret.hex() == vector["exporter_secret"]
    sealed = AESGCM(made.key).encrypt(
        made.base_nonce, bytes.fromhex(vector["pt"]), bytes.fromhex(vector["aad"])
    )
    assert sealed.hex() == vector["ct"]


@pytest.mark.spec("2.9-b")
def test_the_library_opens_what_the_reference_seals() -> None:
    key = key_of(XWING[0]["seed"])
    made = wrap(key.public_bytes, seed("secrets", 64), info=b"info", seed=seed("encaps", 64))
    assert len(made) == WRAP_BYTES
    assert key.unwrap(made, b"info") == seed("secrets", 64)
    with pytest.raises(CannotOpen):
        key.unwrap(made, b"other info")


@pytest.mark.spec("2.9-b")
def test_the_reference_opens_what_the_library_seals() -> None:
    vector = XWING[0]
    public = PublicSealingKey.from_bytes(key_of(vector["seed"]).public_bytes)
    sealed = public.wrap(seed("secrets", 64), b"info")
    schedule = key_schedule(decapsulate(vector["seed"], sealed[:1120]), b"info")
    opened = AESGCM(schedule.key).decrypt(schedule.base_nonce, sealed[1120:], b"")
    assert opened == seed("secrets", 64)
