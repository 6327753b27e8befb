"""The account that an address of TON names, in either of its spellings (SPEC 8.7).

Without the library for cells, so that an enclave can read where its owner is paid.
"""

import base64
import binascii
import re
from typing import Final

from bombyx.money.voucher import ACCOUNT_BYTES

_RAW: Final = re.compile(r"\A0:([0-9a-fA-F]{64})\Z")
_FRIENDLY_BYTES: Final = 36
_BOUNCEABLE, _NOT_BOUNCEABLE = 0x11, 0x51
_TESTNET: Final = 0x80
"""Said of addresses that no program for money should show; the account is the same."""


def account_of(address: str) -> bytes | None:
    """The 32 bytes of an account in the basechain; None for what is no such address."""
    raw = _RAW.match(address)
    if raw is not None:
        return bytes.fromhex(raw.group(1))
    try:
        data = base64.b64decode(address.replace("-", "+").replace("_", "/"), validate=True)
    except ValueError:
        return None
    return _friendly(data) if len(data) == _FRIENDLY_BYTES else None


def _friendly(data: bytes) -> bytes | None:
    """One byte of flags, one of workchain, the account, and a checksum."""
    told, check = data[:-2], int.from_bytes(data[-2:])
    known = told[0] & ~_TESTNET in {_BOUNCEABLE, _NOT_BOUNCEABLE}
    if not known or told[1] != 0 or binascii.crc_hqx(told, 0) != check:
        return None
    return told[2 : 2 + ACCOUNT_BYTES]
