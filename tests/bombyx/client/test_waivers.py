"""The gateway's note is kept when a request is given up on it: with a bill it is proof (14.3)."""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
from openai import AsyncOpenAI

from bombyx.client.waivers import MAX_KEPT, Waiver, WaiverFolder
from bombyx.envelope.request import parse_request
from bombyx.link.documents import SignedLost
from bombyx.signing import Kind, verify
from tests.bombyx.client.conftest import Heard
from tests.bombyx.client.peer import Peer, Received, Reply, lost_note, problem
from tests.factories import MODEL, NOW, refusal, worker

ASK: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "canary"}]}


def sends_away(times: int, status: int = 422, code: str = "no_candidate") -> Any:
    """The first POSTs get genuine notes."""

    def instead(peer: Peer, got: Received) -> Reply | None:
        if got.method != "POST" or len(peer.posts) > times:
            return None
        return problem(status, code, lost=lost_note(parse_request(got.body)[0].c.hex()))

    return instead


def posted(peer: Peer) -> list[str]:
    return [parse_request(one.body)[0].c.hex() for one in peer.posts]


@pytest.mark.spec("14.3-d")
async def test_the_note_of_what_is_sealed_anew_is_told(
    sdk: AsyncOpenAI, peer: Peer, heard: Heard
) -> None:
    peer.instead = sends_away(1)
    await sdk.chat.completions.create(**ASK)
    assert [one.c for one in heard.waivers] == posted(peer)[:1]
    assert len(heard.receipts) == 1


async def test_so_is_that_of_a_renewal_that_is_sent_away_too(
    sdk: AsyncOpenAI, peer: Peer, heard: Heard
) -> None:
    peer.instead = sends_away(2)
    with pytest.raises(openai.UnprocessableEntityError):
        await sdk.chat.completions.create(**ASK)
    assert [one.c for one in heard.waivers] == posted(peer)


@pytest.mark.parametrize(("status", "code"), [(422, "not_run"), (503, "no_candidate")])
async def test_no_request_is_given_up_on_another_answer(
    sdk: AsyncOpenAI, peer: Peer, heard: Heard, *, status: int, code: str
) -> None:
    peer.instead = sends_away(1, status, code)
    with pytest.raises(openai.APIStatusError):
        await sdk.chat.completions.create(**ASK)
    assert (len(peer.posts), heard.waivers) == (1, [])


async def test_refusals_of_all_need_no_note(sdk: AsyncOpenAI, peer: Peer, heard: Heard) -> None:
    def refuse(peer: Peer, got: Received) -> Reply | None:
        if got.method != "POST" or len(peer.posts) > 1:
            return None
        head = parse_request(got.body)[0]
        told = {"c": head.c.hex(), "h": head.header.h.hex()}
        return problem(422, "no_candidate", [refusal(worker(one), **told) for one in "ab"])

    peer.instead = refuse
    await sdk.chat.completions.create(**ASK)
    assert (len(peer.posts), heard.waivers) == (2, [])


async def waived(sdk: AsyncOpenAI, peer: Peer, heard: Heard) -> Waiver:
    peer.instead = sends_away(1)
    await sdk.chat.completions.create(**ASK)
    return heard.waivers[0]


@pytest.mark.spec("14.3-d")
async def test_a_note_is_kept_in_a_file_of_its_user_alone(
    sdk: AsyncOpenAI, peer: Peer, heard: Heard, tmp_path: Path
) -> None:
    waiver = await waived(sdk, peer, heard)
    WaiverFolder(tmp_path / "waived", lambda: NOW)(waiver)
    (file,) = (tmp_path / "waived").iterdir()
    assert file.name == f"{waiver.id}.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    text = file.read_text(encoding="utf-8")
    assert "canary" not in text
    told = json.loads(text)
    assert (told["code"], told["at"], told["c"]) == ("waived", NOW, waiver.c)
    # All that a stranger needs: the gateway of the request signed that its c is never billed.
    kept = msgspec.convert({name: told[name] for name in ("lost", "signature")}, SignedLost)
    gateway = bytes.fromhex(told["header"]["gateway"])
    verify(Kind.LOST, kept.lost, bytes.fromhex(kept.signature), gateway)
    assert kept.lost.c == told["c"] == posted(peer)[0]
    assert len(told["keysets"]) == 2


async def test_the_oldest_notes_make_room_and_a_full_disk_does_not_matter(
    sdk: AsyncOpenAI, peer: Peer, heard: Heard, tmp_path: Path
) -> None:
    waiver = await waived(sdk, peer, heard)
    full = tmp_path / "full"
    full.mkdir()
    for number in range(MAX_KEPT):
        (full / str(number)).touch()
        os.utime(full / str(number), (number, number))
    (full / "gone").symlink_to(tmp_path / "nothing")
    WaiverFolder(full, lambda: NOW)(waiver)
    left = {file.name for file in full.iterdir()}
    assert len(left) == MAX_KEPT
    assert f"{waiver.id}.json" in left
    assert left.isdisjoint({"gone", "0"})
    taken = tmp_path / "taken"
    taken.write_text("no folder", encoding="utf-8")
    WaiverFolder(taken / "waived", lambda: NOW)(waiver)
