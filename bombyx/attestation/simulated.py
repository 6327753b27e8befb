"""The simulated platform's fixed values, for both who mints and who verifies (SPEC 17).

There is no hardware behind it: it runs the real verification under a root of its own, so that
everything but the silicon is exercised. Its quotes say so in their signed header.
"""

import hashlib

QUOTE_VERSION = 4
USER_DATA = b"SIMULATED".ljust(20, b"\0")
"""In the quote's signed header."""
FMSPC = bytes.fromhex("5353494d0001")
"""Spells "SSIM"; no such processor family exists."""
TD_ATTRIBUTES = (1 << 28).to_bytes(8, "little")
"""SEPT_VE_DISABLE and nothing else."""
XFAM = bytes.fromhex("e702060000000000")
"""x87, SSE, AVX, AVX-512, PKU, AMX: what a current guest has."""
_IMAGE_LABEL = b"bombyx/1/simulated-image\0"


def image_measurement(version: str) -> bytes:
    """The 48 bytes that stand for the image of a bombyx version: no code was measured."""
    return hashlib.sha384(_IMAGE_LABEL + version.encode()).digest()
