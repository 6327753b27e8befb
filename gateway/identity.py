"""The gateway's own keys: identity, bare payer, channels, cluster (SPEC 1.2, 5.3, 7.2).

One key, one role.
They lie in the state folder, readable by their owner alone; processes of one gateway share them.
"""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from bombyx.errors import SetupError
from bombyx.money.channel.closing import ChannelSigner
from bombyx.signing import SEED_BYTES, Role, Signer
from gateway.metering.ticket import KEY_BYTES

_OWNER_ONLY = 0o600


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
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
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
    secret = secrets.token_bytes(size)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _OWNER_ONLY)
        with os.fdopen(handle, "w") as file:
            file.write(secret.hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        # Whole or not at all under its name, and never over a file that is there.
        os.link(draft, path)
    except FileExistsError:
        return _read(path, size)
    except OSError as error:
        raise SetupError(f"cannot write {path}: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)
    return secret


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
