"""A link that is lost again and again leaks nothing and costs nobody a receipt (SPEC 10.3, 6.8)."""

import json
from pathlib import Path

import pytest

from tests.soak.growth import Growth, Sample, growth
from tests.soak.soak import SoakPlan, soak


@pytest.mark.spec("10.3-f")
async def test_a_link_that_is_lost_again_and_again_costs_no_receipt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOMBYX_STATE", str(tmp_path / "client"))
    plan = SoakPlan(seconds=15, cut_every=2, clients=4, look_every=0.2)
    report = await soak(tmp_path / "site", plan)
    # Memory and pools are still being taken for the first time: that they are flat, minutes show.
    warm = "resident memory", "gateway: "
    rules = [one for one in report.complaints() if not any(word in one for word in warm)]
    assert rules == [], json.dumps(report.document(), indent=1)
    assert report.cuts >= 4
    assert report.links > report.cuts


def _samples(early: int, late: int, descriptors: int = 10) -> list[Sample]:
    return [Sample(early, 10)] * 10 + [Sample(late, descriptors)] * 10


def test_growth_is_told_from_the_second_fifth_to_the_last() -> None:
    grown = growth(_samples(100, 104))
    assert (grown.rss_early, grown.rss_late, grown.complaints("worker")) == (100, 104, [])
    assert growth(_samples(100, 106)).complaints("worker") == [
        "worker: resident memory grew by 6.0%"
    ]
    assert growth(_samples(100, 90, descriptors=13)).complaints("worker") == [
        "worker: 3 descriptors more than before"
    ]
    assert growth(_samples(1, 1, descriptors=12)) == Growth(1, 1, 10, 12)
    with pytest.raises(ValueError, match="too few"):
        growth(_samples(1, 1)[:9])
