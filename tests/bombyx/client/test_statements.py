"""Statements on the way, after the end, and what is kept for a dispute (SPEC 3.9, 6.1, 14)."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
from openai import AsyncOpenAI

from bombyx import canonical
from bombyx.client.disputes import MAX_KEPT, Dispute, DisputeFolder
from bombyx.client.transcripts import Transcript, TranscriptFolder, TranscriptsKept
from bombyx.money.receipt import Receipt
from bombyx.money.statement import Statement, Status, TokenCounts
from tests.bombyx.client.conftest import Heard
from tests.bombyx.client.peer import (
    ANSWER,
    Opened,
    Peer,
    Received,
    Reply,
    answer,
    entry,
    note,
    open_request,
)
from tests.factories import MODEL, NOW, hex_of, priced, receipts, worker

ASK: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "canary-question"}]}
change = msgspec.structs.replace
USAGE_TYPE, END_TYPE = 2, 5


async def streamed(sdk: AsyncOpenAI) -> list[str]:
    words: list[str] = []
    async for chunk in await sdk.chat.completions.create(**ASK, stream=True):
        words += [choice.delta.content or "" for choice in chunk.choices]
    return words


async def test_6_1_an_honest_partial_statement_passes_and_is_not_shown(
    sdk: AsyncOpenAI, peer: Peer, heard: Heard
) -> None:
    peer.script.partial_at = 3
    assert "".join(await streamed(sdk)).strip() == ANSWER
    (verified,) = heard.receipts
    assert verified.receipt.statement.status is Status.FINAL
    assert heard.disputes == []


def more(told: Statement) -> Statement:
    """Beyond what the last statement will count."""
    return priced(
        change(told, tokens=TokenCounts(prompt=100, cached=64, completion=51, reasoning=10))
    )


PARTIALS: list[Callable[[Statement], Statement]] = [
    more,
    lambda told: change(told, seq=1),
    lambda told: change(told, c=hex_of("other c")),
    lambda told: change(told, charge_nano="1"),
    lambda told: change(told, resp_ct_hash=hex_of("other answer")),
    lambda told: change(told, resp_ct_bytes=told.resp_ct_bytes + 1),
    lambda told: change(told, status=Status.FINAL),
]


@pytest.mark.spec("3.9-e")
@pytest.mark.parametrize("partial", PARTIALS)
async def test_6_1_a_partial_statement_that_does_not_hold_ends_the_stream(
    sdk: AsyncOpenAI, peer: Peer, heard: Heard, partial: Any
) -> None:
    """Were it let pass, a cut right behind it would cost what it says."""
    peer.script.partial_at, peer.script.partial = 3, partial
    with pytest.raises(openai.APIError):
        await streamed(sdk)
    assert [one.code for one in heard.disputes] == ["bad_receipt"]
    assert heard.receipts == []


async def test_16_a_cut_stream_costs_what_its_last_statement_says(
    sdk: AsyncOpenAI, peer: Peer, heard: Heard
) -> None:
    peer.script.partial_at = 3
    peer.relay = lambda frames: [*frames[:6], note()]
    with pytest.raises(openai.APIError):
        await streamed(sdk)
    (dispute,) = heard.disputes
    assert dispute.verified is not None
    assert dispute.verified.statement.status is Status.PARTIAL
    assert dispute.verified.statement.tokens.completion == 25
    assert dispute.charge_nano == int(dispute.verified.statement.charge_nano) > 0


async def test_16_a_statement_with_nothing_behind_it_counts_by_its_own_signature(
    sdk: AsyncOpenAI, peer: Peer, heard: Heard
) -> None:
    peer.script.partial_at = 3
    peer.relay = lambda frames: frames[:5]
    with pytest.raises(openai.APIError):
        await streamed(sdk)
    assert heard.disputes[0].charge_nano > 0
    peer.script.partial = PARTIALS[4]
    with pytest.raises(openai.APIError):
        await streamed(sdk)
    assert (heard.disputes[1].charge_nano, heard.disputes[1].code) == (0, "truncated")
    assert heard.disputes[1].received


async def disputed(sdk: AsyncOpenAI, peer: Peer, heard: Heard) -> Dispute:
    peer.script.partial_at = 3
    peer.relay = lambda frames: frames[:6]
    with pytest.raises(openai.APIError):
        await streamed(sdk)
    return heard.disputes[-1]


async def test_a_dispute_is_kept_in_a_file_of_its_user_alone(
    sdk: AsyncOpenAI, peer: Peer, heard: Heard, tmp_path: Path
) -> None:
    dispute = await disputed(sdk, peer, heard)
    DisputeFolder(tmp_path / "disputes", lambda: NOW)(dispute)
    (file,) = list_files(tmp_path / "disputes")
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    text = file.read_text(encoding="utf-8")
    assert "canary" not in text
    told = json.loads(text)
    assert (told["code"], told["at"], told["c"]) == ("truncated", NOW, dispute.c)
    # All that a stranger needs: whose key signed, over what, for which request.
    receipt = msgspec.convert(told["verified"], Receipt)
    signers = {canonical.digest(one).hex(): one["receipt_key"] for one in told["keysets"]}
    assert receipt.statement.worker in signers
    assert receipt.statement.c == told["c"]
    assert told["charge_nano"] == receipt.statement.charge_nano


async def test_disputes_are_bounded_and_a_full_disk_does_not_matter(
    sdk: AsyncOpenAI, peer: Peer, heard: Heard, tmp_path: Path
) -> None:
    dispute = await disputed(sdk, peer, heard)
    full = tmp_path / "full"
    fill(full)
    DisputeFolder(full, lambda: NOW)(dispute)
    assert len(list_files(full)) == MAX_KEPT
    taken = tmp_path / "taken"
    taken.write_text("no folder", encoding="utf-8")
    DisputeFolder(taken / "disputes", lambda: NOW)(dispute)


def fill(folder: Path) -> None:
    folder.mkdir()
    for number in range(MAX_KEPT):
        (folder / str(number)).touch()


def list_files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


async def test_a_transcript_that_cannot_be_written_costs_no_answer(
    sdk: AsyncOpenAI, heard: Heard, tmp_path: Path
) -> None:
    await streamed(sdk)
    taken = tmp_path / "taken"
    taken.write_text("no folder", encoding="utf-8")
    transcript = Transcript(b"{}", b"{}", heard.receipts[0])
    with pytest.warns(TranscriptsKept, match="could not be written"):
        TranscriptFolder(taken)(transcript)


def outcome(receipt: bytes | None) -> Reply:
    error = {"message": "it ran before", "type": "t", "code": "outcome", "param": None}
    body: dict[str, Any] = {"error": error}
    if receipt is not None:
        body["receipt"] = msgspec.Raw(receipt)
    return Reply(409, "application/json", [msgspec.json.encode(body)])


def last_receipt(frames: list[bytes]) -> bytes:
    (usage,) = [frame for frame in frames if frame[0] == USAGE_TYPE]
    return usage[6:]


def answered_before(forge: Callable[[Opened], bytes | None]) -> Callable[[Peer, Received], Any]:
    """A gateway that says so of every request, with the receipt that `forge` makes."""

    def instead(peer: Peer, got: Received) -> Reply | None:
        if got.method != "POST":
            return None
        opened = open_request(got.body, peer.pick(got.body))
        return outcome(forge(opened))

    return instead


async def told_of_outcome(sdk: AsyncOpenAI) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.chat.completions.create(**ASK)
    return caught.value


async def test_14_2_an_outcome_with_our_receipt_is_believed(
    sdk: AsyncOpenAI, peer: Peer, heard: Heard
) -> None:
    peer.instead = answered_before(lambda opened: last_receipt(answer(opened, peer.script)[1:]))
    error = await told_of_outcome(sdk)
    assert (error.status_code, error.code) == (409, "outcome")
    assert "verified" in error.message
    assert error.response.headers["x-should-retry"] == "false"
    assert heard.receipts[0].receipt.statement.charge_nano in error.message
    assert heard.disputes == []


def foreign(opened: Opened) -> bytes:
    """A genuine receipt of somebody else's request."""
    told = answer(opened, Peer().script)[1:]
    receipt = msgspec.json.decode(last_receipt(told), type=Receipt)
    other = change(receipt.statement, c=hex_of("other c"))
    return canonical.encode(receipts([other], opened.keys.receipt)[0])


def unasked(opened: Opened) -> bytes:
    receipt = msgspec.json.decode(last_receipt(answer(opened, Peer().script)[1:]), type=Receipt)
    other = change(receipt.statement, worker=worker("z").id)
    return canonical.encode(receipts([other], worker("z").receipt)[0])


FORGED: list[Callable[[Opened], bytes]] = [foreign, unasked, lambda _: b'{"statement":1}']


@pytest.mark.spec("14.2-b")
@pytest.mark.parametrize("forge", FORGED)
async def test_14_2_an_outcome_with_any_other_receipt_is_a_dispute(
    sdk: AsyncOpenAI, peer: Peer, heard: Heard, forge: Any
) -> None:
    peer.entries = [entry(worker("a"))]
    peer.instead = answered_before(forge)
    error = await told_of_outcome(sdk)
    assert (error.status_code, error.code) == (502, "bad_receipt")
    assert [one.code for one in heard.disputes] == ["bad_receipt"]
    assert heard.disputes[0].received
    assert heard.receipts == []


async def test_14_2_an_outcome_without_receipt_is_the_gateways_word(
    sdk: AsyncOpenAI, peer: Peer, heard: Heard
) -> None:
    peer.instead = answered_before(lambda _: None)
    error = await told_of_outcome(sdk)
    assert (error.status_code, error.code) == (409, "outcome")
    assert "verified" not in error.message
    assert heard.receipts == []
    peer.instead = lambda _peer, got: (
        Reply(409, "text/plain", [b"oops"]) if got.method == "POST" else None
    )
    assert (await told_of_outcome(sdk)).status_code == 409
