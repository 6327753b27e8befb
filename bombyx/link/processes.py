"""The processes of one gateway, and which of them a worker links to (SPEC 10.5).

A gateway lists its live processes; a worker links to all of them up to eight. Beyond that each
worker takes eight of its own by rendezvous hash: whoever comes or goes moves few links.
"""

import struct
from collections.abc import Sequence
from hashlib import sha256
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from bombyx.errors import LinkError
from bombyx.units import Count, Hex32

MAX_LINKED = 8
"""Links of one keyset to one gateway: enough that losing a process is not felt."""
MAX_PROCESSES = 4096
MAX_LIST_BYTES = 2**20
_U32 = struct.Struct(">I")
_CONTEXT = b"bombyx/1/rendezvous\0"


class LiveProcess(msgspec.Struct, frozen=True):
    """One process: where it is dialled, and since which start (`epoch`) it has its slot."""

    slot: Annotated[int, Meta(ge=0, lt=MAX_PROCESSES)]
    epoch: Count
    link_url: Annotated[str, Meta(max_length=512, pattern=r"\Awss?://[\x21-\x7e]+\Z")]
    draining: bool = False


class ProcessList(msgspec.Struct, frozen=True):
    """What `GET /v1/gateways` answers: the gateway's identity key and its live processes."""

    gateway: Hex32
    data: Annotated[list[LiveProcess], Meta(max_length=MAX_PROCESSES)]
    object: Literal["list"] = "list"


def parse_processes(raw: bytes) -> ProcessList:
    """Read an answer; raises `LinkError` for what is no list, or names a slot twice."""
    try:
        found = msgspec.json.decode(raw, type=ProcessList)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise LinkError("the gateway's list of processes cannot be read") from None
    if len({one.slot for one in found.data}) != len(found.data):
        raise LinkError("the gateway's list of processes names a slot twice")
    return found


def choose_processes(worker: str, listed: Sequence[LiveProcess]) -> list[LiveProcess]:
    """Whom a worker (its id in hex) links to: all that are not draining, or its own eight."""
    taking = [one for one in listed if not one.draining]
    if len(taking) <= MAX_LINKED:
        return taking
    mine = _CONTEXT + bytes.fromhex(worker)
    return sorted(taking, key=lambda one: sha256(mine + _U32.pack(one.slot)).digest())[:MAX_LINKED]
