"""The key that a dstack machine's KMS derives for its app: the same for each run of that app."""

import binascii
from pathlib import Path
from typing import Final

from bombyx.errors import AttestationError, SetupError
from worker.attest.dstack import call
from worker.sealing.port import KEY_BYTES, SealingKey

KEY_PATH: Final = "bombyx/worker/journal"
_PURPOSE: Final = "seal"


class DstackSealing:
    """A `Sealing` by the guest agent's `GetKey`."""

    name: Final = "dstack"
    promise: Final = "dstack's KMS derives the key for this app"

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def key(self, journal: Path) -> SealingKey:  # noqa: ARG002 - it needs no file
        """Raises `SetupError` where the agent gives none."""
        try:
            asked = {"path": KEY_PATH, "purpose": _PURPOSE}
            answer = await call(self._socket, "GetKey", asked)
        except AttestationError as error:
            raise SetupError(f"no key for the journal: {error.message}") from None
        text = answer.get("key")
        try:
            key = binascii.unhexlify(text.removeprefix("0x")) if isinstance(text, str) else b""
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            raise SetupError(f"the dstack agent at {self._socket} answers GetKey without a key")
        return SealingKey(key, self.name)

    async def used(self, journal: Path) -> None:
        """Nothing to keep."""
