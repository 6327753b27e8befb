"""The gateway's own keys: identity, bare payer, channels, cluster (SPEC 1.2, 5.3, 7.2).

One key, one role.
They lie in the state folder, readable by their owner alone; processes of one gateway share them.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path

from bombyx.errors import SetupError
from bombyx.files.durable import write_new
from bombyx.money.channel.closing import ChannelSigner
from bombyx.signing import SEED_BYTES, Role, Signer
from gateway.metering.ticket import KEY_BYTES


@dataclass(frozen=True, slots=True, repr=False)
class GatewayKeys:
    """Signers and the key that seals tickets."""

    identity: Signer
    payer: Signer
    channel: ChannelSigner
    """Ends channels; in their addresses, so that a new key is for new channels only."""
    cluster: bytes

    @property
    def gateway(self) -> str:
        """The gateway's name everywhere: its identity key in hex."""
        return self.identity.public_hex


def load_keys(state: Path) -> GatewayKeys:
    """Read the keys, making what is not there; raises `SetupError` for unsafe or torn files."""
    folder = state / "gateway"
    return GatewayKeys(
        identity=Signer(Role.GATEWAY, _secret(folder / "identity.key", SEED_BYTES)),
        payer=Signer(Role.PAYER, _secret(folder / "payer.key", SEED_BYTES)),
        channel=ChannelSigner(_secret(folder / "channel.key", SEED_BYTES)),
        cluster=_secret(folder / "cluster.key", KEY_BYTES),
    )


def _secret(path: Path, size: int) -> bytes:
    """The file's hex, or fresh randomness; two processes that start together agree."""
    if path.exists() or path.is_symlink():
        return _read(path, size)
    try:
        write_new(path, f"{secrets.token_bytes(size).hex()}\n".encode())
    except OSError as error:
        raise SetupError(f"cannot write {path}: {error.strerror}") from None
    return _read(path, size)


def _read(path: Path, size: int) -> bytes:
    if path.is_symlink() or path.stat().st_mode & 0o077:
        raise SetupError(f"{path} must be a file that only its owner can read: chmod 600 it")
    try:
        secret = bytes.fromhex(path.read_text().strip())
    except ValueError:
        secret = b""
    if len(secret) != size:
        raise SetupError(f"{path} holds no key of {size} bytes")
    return secret
