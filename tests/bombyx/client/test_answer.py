"""What the SDK is shown, and when (SPEC 3.9); what is remembered, and for how long (SPEC 13)."""

from collections import Counter

import msgspec
import pytest

from bombyx.chat.sse import DONE, encode_event
from bombyx.client.choice import draw_candidates
from bombyx.client.directory import Remembered, Verifier, collateral_of, parse_directory
from bombyx.client.reading import _error_object
from bombyx.client.shaping import StreamShaper, with_summary
from bombyx.errors import BadAnswer, BadStream, WorkerRefused
from bombyx.money.offer import Prices
from tests.bombyx.client.conftest import chance
from tests.bombyx.client.peer import ENTRIES, Peer, entry, policy
from tests.factories import MODEL, NOW, signed_offer, worker

SUMMARY = {"verified": True}


def chunk(**fields: object) -> bytes:
    return encode_event(msgspec.json.encode(fields))


@pytest.mark.spec("3.9-b")
def test_usage_and_done_wait_for_the_verification() -> None:
    shaper = StreamShaper()
    token = chunk(choices=[{"delta": {"content": 'a "usage" word'}}], usage=None)
    usage = chunk(choices=[], usage={"total_tokens": 3})
    assert shaper.feed(token + usage + DONE) == token
    assert shaper.feed(token) == b""
    ended = shaper.done(SUMMARY)
    assert ended == chunk(choices=[], usage={"total_tokens": 3, "bombyx": SUMMARY}) + DONE


def test_usage_on_a_chunk_with_choices_passes() -> None:
    shaper = StreamShaper()
    running = chunk(choices=[{"delta": {}}], usage={"total_tokens": 3})
    assert shaper.feed(running) == running
    assert shaper.feed(b'data: not json, "usage"\n\n') == b'data: not json, "usage"\n\n'
    assert shaper.feed(b"data: one\ndata: two\n\n") == b"data: one\ndata: two\n\n"
    assert shaper.done(SUMMARY) == DONE


def test_a_stream_torn_inside_an_event_is_not_done() -> None:
    shaper = StreamShaper()
    shaper.feed(b"data: half")
    with pytest.raises(BadStream):
        shaper.done(SUMMARY)


def test_a_whole_answer_gets_its_summary_where_it_has_usage() -> None:
    told = msgspec.json.decode(with_summary(b'{"usage":{"total_tokens":1}}', SUMMARY))
    assert told == {"usage": {"total_tokens": 1, "bombyx": SUMMARY}}
    assert with_summary(b'{"error":{}}', SUMMARY) == b'{"error":{}}'
    for body in (b"[]", b"{", b"\xff"):
        with pytest.raises(BadAnswer):
            with_summary(body, SUMMARY)


def test_a_workers_error_object_comes_with_or_without_its_envelope() -> None:
    assert _error_object(b'{"error":{"code":"x"}}') == _error_object(b'{"code":"x"}')
    with pytest.raises(BadAnswer):
        _error_object(b"oops")


def test_what_is_remembered_expires_and_is_bounded() -> None:
    memory: Remembered[str, int] = Remembered(2)
    for number, name in enumerate("abc"):
        memory.put(name, number, expires=10)
    assert [memory.get(name, now=9) for name in "abc"] == [None, 1, 2]
    assert memory.get("c", now=10) is None


def test_a_refusal_is_remembered_for_a_minute_and_then_looked_into_again() -> None:
    verifier = Verifier(policy())
    bad = msgspec.structs.replace(ENTRIES["a"], keyset=worker("c").keyset)
    for now in (NOW, NOW + 1):
        with pytest.raises(WorkerRefused, match="report_data_binding") as caught:
            verifier.verify(bad, collateral_of(Peer().directory(), bad), now=now)
        assert len(caught.value.steps) > 10
    with pytest.raises(WorkerRefused, match="collateral"):
        verifier.verify(ENTRIES["a"], None, now=NOW)


@pytest.mark.spec("13.1-c")
def test_no_entry_can_be_slipped_under_an_older_verification() -> None:
    verifier, directory = Verifier(policy()), Peer().directory()
    good = ENTRIES["a"]
    collateral = collateral_of(directory, good)
    first = verifier.verify(good, collateral, now=NOW)
    assert verifier.verify(good, collateral, now=NOW) is first
    for changed in (
        msgspec.structs.replace(good, evidence=ENTRIES["b"].evidence),
        msgspec.structs.replace(good, keyset=ENTRIES["b"].keyset),
    ):
        with pytest.raises(WorkerRefused):
            verifier.verify(changed, collateral, now=NOW)


def test_a_directory_names_its_collateral_by_digest() -> None:
    directory = Peer().directory()
    unnamed = msgspec.structs.replace(ENTRIES["a"].evidence, collateral=msgspec.UNSET)
    without = msgspec.structs.replace(ENTRIES["a"], evidence=unnamed)
    assert collateral_of(directory, without) is None
    assert parse_directory(msgspec.json.encode(directory), policy(gateways=[directory.gateway]))


@pytest.mark.spec("13.1-a")
def test_candidates_are_drawn_at_random_and_the_cheap_ones_more_often() -> None:
    cheap = Prices(prompt="1000", cached="1000", completion="1000", reasoning="1000")
    entries = [
        entry(worker("a"), offers=[signed_offer(worker("a"), prices=cheap)]),
        *(entry(worker(name)) for name in "bcde"),
    ]
    verifier, directory = Verifier(policy()), Peer().directory()
    collateral = collateral_of(directory, entries[0])
    draw = chance("draw")
    drawn: Counter[str] = Counter()
    for _ in range(60):
        found = draw_candidates(
            [*entries, entries[0]],
            MODEL,
            verify=lambda one, now: verifier.verify(one, collateral, now=now),
            now=NOW,
            draw=draw,
        )
        assert len(found.chosen) == 3
        drawn.update(one.worker.worker_id for one in found.chosen)
    assert len(drawn) == 5
    assert drawn[worker("a").id] == 60
