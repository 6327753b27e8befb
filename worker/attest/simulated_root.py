"""The root of a simulated network: made once, shared by its workers, pinned by its policy.

One file of mode 0600 holds key and certificate. Whoever has it can simulate any worker, which is
all that a simulated platform can promise.
"""

import contextlib
import hashlib
import os
import secrets
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bombyx.errors import SetupError
from worker.attest.simulated_certificates import Authority, pem_chain, self_signed

NAME = "SIMULATED NOT INTEL Root CA"
_MODE = 0o600


class SimulatedRoot:
    """A root certificate with its key; never shows the key."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.der = authority.certificate.public_bytes(serialization.Encoding.DER)

    def __repr__(self) -> str:
        return f"SimulatedRoot({root_sha256(self)[:16]}…)"

    @classmethod
    def create(cls, *, now: int) -> "SimulatedRoot":
        """A fresh root, valid for ten years from `now` (unix seconds)."""
        return cls(self_signed(NAME, now=now))


def root_sha256(root: SimulatedRoot) -> str:
    """What a policy pins: hex SHA-256 of the certificate's DER."""
    return hashlib.sha256(root.der).hexdigest()


def save_root(root: SimulatedRoot, path: Path) -> None:
    """Write a new file, whole or not at all; raises `FileExistsError` instead of replacing one."""
    key = root.authority.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE), "wb") as file:
            file.write(key + pem_chain(root.authority.certificate))
        os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def load_root(path: Path) -> SimulatedRoot:
    """Read the file; raises `SetupError` when it is missing, broken or readable by others."""
    try:
        text, mode = path.read_bytes(), path.stat().st_mode
    except OSError as error:
        raise SetupError(f"cannot read the simulated root {path}: {error.strerror}") from None
    if mode & 0o077:
        raise SetupError(f"the simulated root {path} is open to other users; chmod 600 it")
    try:
        key = serialization.load_pem_private_key(text, password=None)
        certificate = x509.load_pem_x509_certificate(text)
    except ValueError:
        raise SetupError(f"{path} holds no simulated root; delete it to make a new one") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or (
        key.public_key() != certificate.public_key()
    ):
        raise SetupError(f"key and certificate in {path} do not belong together")
    return SimulatedRoot(Authority(certificate, key))


def load_or_create_root(path: Path, *, now: int) -> SimulatedRoot:
    """The network's root; of several processes that start at once, one makes it."""
    if not path.exists():
        with contextlib.suppress(FileExistsError):  # another process was first, its root counts
            save_root(SimulatedRoot.create(now=now), path)
    return load_root(path)
