"""Tickets: what a worker carries from `open` into its statements (SPEC 5.3).

Sealed with the cluster's key, so only gateways of one cluster read or make them; to the worker they
are opaque. A statement with a valid ticket can rebuild a claim that the database lost.
"""

from typing import Annotated

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import UNSET, Meta, UnsetType

from bombyx import canonical
from bombyx.canonical import Document
from bombyx.errors import BadTicket, NotCanonical
from bombyx.units import Count, Hex32, NanoText

KEY_BYTES = 32
NONCE_BYTES = 12
MAX_BYTES = 512
_AAD = b"bombyx/1/ticket\0"


class Ticket(Document, frozen=True):
    """What a claim reserved, and which dispatch of it this is; `deadline` in unix seconds."""

    account: Annotated[str, Meta(min_length=1, max_length=128)]
    reserve: NanoText
    c: Hex32
    deadline: Count
    attempt: Annotated[int, Meta(ge=1, le=1_000)]
    key: Annotated[str, Meta(min_length=1, max_length=64)] | UnsetType = UNSET
    """The API key that asked, where it has limits: a rebuilt claim counts against them."""
    channel: Hex32 | UnsetType = UNSET
    """The channel that pays, where one does."""


class TicketBox:
    """Seals and opens tickets with the cluster's key; never shows it."""

    __slots__ = ("_cipher",)

    def __init__(self, cluster_key: bytes) -> None:
        if len(cluster_key) != KEY_BYTES:
            raise ValueError("the cluster key has 32 bytes")
        self._cipher = AESGCM(cluster_key)

    def seal(self, ticket: Ticket, nonce: bytes) -> str:
        """Hex of a ticket; `nonce` is 12 fresh random bytes.

        Raises `ValueError` when it would be longer than a ticket may be.
        """
        if len(nonce) != NONCE_BYTES:
            raise ValueError("a ticket's nonce has 12 bytes")
        sealed = nonce + self._cipher.encrypt(nonce, canonical.encode(ticket), _AAD)
        if len(sealed) > MAX_BYTES:
            raise ValueError("the ticket is too long")
        return sealed.hex()

    def open(self, text: str) -> Ticket:
        """Read a ticket; raises `BadTicket` for whatever this cluster did not seal."""
        if len(text) > 2 * MAX_BYTES:
            raise BadTicket("the ticket is too long")
        try:
            sealed = _from_hex(text)
            clear = self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _AAD)
            return canonical.decode(clear, Ticket)
        except (ValueError, InvalidTag, NotCanonical):
            raise BadTicket("the ticket is none of this gateway's") from None


def _from_hex(text: str) -> bytes:
    """One spelling only: two texts that open alike would be two tickets to a comparison."""
    sealed = bytes.fromhex(text)
    if sealed.hex() != text:
        raise ValueError("not lower-case hex")
    return sealed
