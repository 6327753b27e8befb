"""One sentence for each cause of no traffic, and none where all is well."""

import re
from typing import Any

import pytest

from bombyx.control.document import LastWords, Notice
from tests.ton.owner.samples import (
    AT,
    MODEL,
    ORIGIN,
    counts,
    document,
    gpus,
    model,
    place,
    repute,
    sight,
    standing,
)
from ton.owner.status.problems import problems_of
from ton.owner.status.sight import Sight


def test_nothing_is_said_of_a_worker_that_is_well() -> None:
    assert problems_of(sight()) == []


def at_gateway(**changes: Any) -> Sight:
    return sight(standings={ORIGIN: standing(**changes)})


def alive(**changes: Any) -> Sight:
    return sight(document=document(**changes))


def without_slots(notice: Notice) -> Sight:
    shown = {ORIGIN: standing(models=[place(slots=0)])}
    return sight(document=document(notices=[notice]), standings=shown)


LINK = Notice("link to wss://g", "wss://g: measurement: the policy does not allow this image")
FULL = Notice("journal", "the worker's journal cannot be written (database or disk is full)")
DEAD = Notice(f"engine of {MODEL}", "sglang ran out of memory")
ABSENT = {"document": None, "silence": "no worker runs on state: name its --state"}
IDLE = [counts(5)]

CASES = [
    (sight(**ABSENT), "not_running", "no worker runs on state", True),
    (
        sight(**ABSENT, last_words=LastWords(1, "setup_error", "the disk is full")),
        "setup_error",
        "the worker has stopped: the disk is full",
        True,
    ),
    (
        sight(**ABSENT, starts=True, last_words=LastWords(1, "setup_error", "of the time before")),
        "starting",
        "no worker runs on state",
        True,
    ),
    (alive(paused=True), "paused", "bombyx worker resume", True),
    (alive(gateways=[], notices=[LINK]), "link", "does not allow this image", True),
    (alive(notices=[LINK]), "link", "does not allow this image", False),
    (alive(gateways=[]), "not_linked", "linked to no gateway yet", True),
    (alive(payout="unset"), "no_wallet", "--wallet", False),
    (alive(payout="EQmistyped"), "bad_wallet", "EQmistyped is no address of TON", False),
    (alive(not_after=AT + 60), "keys_end", "no new ones came", False),
    (alive(hours=IDLE), "no_demand", f"nobody has asked for {MODEL}", False),
    (alive(hours=[counts(refused={"busy": 9})]), "refused_busy", "9 of 49 .*--slots", False),
    (alive(hours=[counts(refused={"x": 9})]), "refused_x", "docs/errors.md", False),
    (sight(standings={ORIGIN: "no way"}), "gateway_silent", "cannot be asked: no way", False),
    (at_gateway(listed=False, reason="withheld"), "withheld", "operator of https://g", True),
    (at_gateway(listed=False, reason="draining"), "draining", "said goodbye", True),
    (at_gateway(listed=False, reason="evidence_ends"), "evidence_ends", "within minutes", True),
    (at_gateway(listed=False, reason="not_linked"), "not_linked", "has no link of this", True),
    (at_gateway(repute=repute(breaker="open", failed=9)), "breaker_open", "9 times", False),
    (at_gateway(repute=repute(success=0.5)), "fails_often", "only 50%", False),
    (at_gateway(models=[place(slots=0)]), "no_slots", "no free slot", True),
    (without_slots(FULL), "journal", "journal cannot be written", True),
    (without_slots(DEAD), "engine", "out of memory", True),
    (at_gateway(models=[place(running=4)]), "full", "all of its 4 slots", False),
    (at_gateway(models=[place(held_back=True)]), "held_back", "each prompt first token", False),
    (
        at_gateway(models=[place(cheaper=6)]),
        "dear",
        r"6 of 7 other offers .* costs 0.00005 GRAM here and 0.000025 or less",
        False,
    ),
    (sight(gpu=gpus(xids=2, xid=79)), "gpu_error", "2 critical errors.* Xid 79", False),
    (sight(gpu=gpus(ecc_uncorrected=3)), "gpu_memory", "3 memory errors", False),
    (sight(gpu=gpus(temperature=91)), "gpu_hot", "91 °C", False),
    (sight(gpu={**gpus(), "at": 0}), "gpu_silent", "no numbers any more", False),
    (sight(gpu={**gpus(), "confidential": None}), "gpu_mode", "computing is off", False),
    (
        sight(gpu={**gpus(), "confidential": {"feature": True, "devtools": True}}),
        "gpu_mode",
        "devtools",
        False,
    ),
    (
        sight(document=document(platform="simulated")),
        "simulated",
        "no policy for hardware accepts",
        False,
    ),
]


@pytest.mark.parametrize(("seen", "code", "sentence", "stops"), CASES)
def test_each_cause_has_its_sentence(seen: Sight, code: str, sentence: str, stops: bool) -> None:
    (problem,) = problems_of(seen)
    assert (problem.code, problem.stops) == (code, stops)
    assert re.search(sentence, problem.sentence)
    assert "\n" not in problem.sentence


def test_no_live_offer_stops_one_model_and_others_are_none_of_the_workers() -> None:
    bare = model()
    gone = type(bare)(MODEL, 3)
    foreign = type(bare)("another", 3)
    (problem,) = problems_of(at_gateway(models=[gone, foreign]))
    assert (problem.code, problem.stops) == ("no_offer", True)


def test_what_stops_a_worker_comes_first_and_nothing_twice() -> None:
    two = {ORIGIN: standing(listed=False, reason="draining"), "https://b": "silent"}
    found = problems_of(sight(document=document(paused=True, payout="unset"), standings=two))
    assert [one.stops for one in found] == [True, True, False, False]
    twice = problems_of(alive(notices=[LINK, LINK]))
    assert len(twice) == 1


def test_a_worker_without_a_link_is_not_told_twice_that_it_has_none() -> None:
    seen = sight(
        document=document(gateways=[], notices=[LINK]),
        standings={ORIGIN: standing(listed=False, reason="not_linked")},
    )
    assert [one.code for one in problems_of(seen)] == ["link"]


def test_few_requests_say_nothing_about_refusals_and_success() -> None:
    few = alive(hours=[counts(requests=3, refused={"busy": 3})])
    assert problems_of(few) == []
    young = at_gateway(repute=repute(success=0.8, answered=1, failed=0))
    assert problems_of(young) == []


def test_nobody_expects_to_be_paid_on_a_chain_in_a_local_network() -> None:
    assert problems_of(alive(payout="local:worker-1")) == []
