"""SPEC 10.5: which processes a worker links to."""

import struct
from hashlib import sha256

import msgspec
import pytest

from bombyx.errors import LinkError
from bombyx.link.processes import (
    MAX_LINKED,
    LiveProcess,
    ProcessList,
    choose_processes,
    parse_processes,
)

WORKER = "ab" * 32


def live(slot: int, *, draining: bool = False) -> LiveProcess:
    return LiveProcess(slot, 1, f"ws://gateway/v1/workers/link/{slot}", draining)


def test_a_list_is_read_as_it_was_written() -> None:
    listed = ProcessList("cd" * 32, [live(0), live(1, draining=True)])
    assert parse_processes(msgspec.json.encode(listed)) == listed


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"object":"list","gateway":"ab","data":[]}',
        msgspec.json.encode(ProcessList("cd" * 32, [LiveProcess(0, 1, "http://gateway")])),
        msgspec.json.encode(ProcessList("cd" * 32, [LiveProcess(-1, 1, "ws://gateway")])),
        msgspec.json.encode(ProcessList("cd" * 32, [live(1), live(1)])),
        b"[" * 100_000,
    ],
)
def test_what_is_no_list_is_refused(raw: bytes) -> None:
    with pytest.raises(LinkError):
        parse_processes(raw)


def test_up_to_eight_all_that_take_requests_are_chosen() -> None:
    listed = [live(slot, draining=slot == 2) for slot in range(MAX_LINKED)]
    assert [one.slot for one in choose_processes(WORKER, listed)] == [0, 1, 3, 4, 5, 6, 7]


@pytest.mark.spec("10.5-a")
def test_of_more_the_eight_with_the_smallest_hashes_are_chosen() -> None:
    listed = [live(slot) for slot in range(40)]

    def weight(slot: int) -> bytes:
        return sha256(
            b"bombyx/1/rendezvous\0" + bytes.fromhex(WORKER) + struct.pack(">I", slot)
        ).digest()

    chosen = [one.slot for one in choose_processes(WORKER, listed)]
    assert chosen == sorted(range(40), key=weight)[:8]


@pytest.mark.spec("10.5-a")
def test_whoever_goes_moves_one_link_and_whoever_comes_at_most_one() -> None:
    listed = [live(slot) for slot in range(20)]
    before = {one.slot for one in choose_processes(WORKER, listed)}
    gone = min(before)
    after = {one.slot for one in choose_processes(WORKER, [o for o in listed if o.slot != gone])}
    assert len(before - after) == 1
    more = {one.slot for one in choose_processes(WORKER, [*listed, live(20)])}
    assert len(before - more) <= 1
