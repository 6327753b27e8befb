"""The key that an SEV-SNP processor derives for a guest (SNP_GUEST_REQUEST, MSG_KEY_REQ).

Mixed from the chip's own secret, the guest's policy and its launch measurement: another chip and
another image get another key, and so does an update of the image.
"""

import asyncio
import ctypes
import fcntl
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bombyx.errors import SetupError
from worker.sealing.port import KEY_BYTES, SealingKey

DEVICE: Final = Path("/dev/sev-guest")
GET_DERIVED_KEY: Final = 0xC0205301
"""_IOWR('S', 1, struct snp_guest_request_ioctl), of linux/sev-guest.h."""
_REQUEST: Final = struct.Struct("<IIQIIQ")
"""struct snp_derived_key_req: root key, reserved, fields to mix in, VMPL, guest SVN, TCB."""
_MIX_POLICY_AND_MEASUREMENT: Final = 0b1001
_RESPONSE_BYTES: Final = 64
"""struct snp_derived_key_resp: u32 status, 28 bytes reserved, the key."""
_IOCTL: Final = struct.Struct("<B7xQQQ")
"""struct snp_guest_request_ioctl: version, address of the request, of the response, exitinfo2."""

Ioctl = Callable[[int, int, bytearray], object]


class SnpSealing:
    """A `Sealing` by `/dev/sev-guest`."""

    name: Final = "sev-snp"
    promise: Final = "the processor derives the key for this image on this chip"

    def __init__(self, device: Path = DEVICE, *, ioctl: Ioctl = fcntl.ioctl) -> None:
        self._device = device
        self._ioctl = ioctl

    async def key(self, journal: Path) -> SealingKey:  # noqa: ARG002 - it needs no file
        """Raises `SetupError` where the processor gives none."""
        return SealingKey(await asyncio.to_thread(self._derive), self.name)

    async def used(self, journal: Path) -> None:
        """Nothing to keep."""

    def _derive(self) -> bytes:
        asked = _REQUEST.pack(0, 0, _MIX_POLICY_AND_MEASUREMENT, 0, 0, 0)
        request = ctypes.create_string_buffer(asked, _REQUEST.size)
        response = ctypes.create_string_buffer(_RESPONSE_BYTES)
        places = ctypes.addressof(request), ctypes.addressof(response)
        call = bytearray(_IOCTL.pack(1, *places, 0))
        try:
            descriptor = os.open(self._device, os.O_RDWR | os.O_CLOEXEC)
            try:
                self._ioctl(descriptor, GET_DERIVED_KEY, call)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise SetupError(f"{self._device} derives no key ({error.strerror})") from None
        status, key = int.from_bytes(response.raw[:4], "little"), response.raw[-KEY_BYTES:]
        if status or not any(key):
            raise SetupError(f"the processor refuses a derived key with status {status:#x}")
        return key
