"""Workers fail under streams and no client need know (SPEC 6.3, 14.3); `make chaos` is longer."""

import json
from pathlib import Path

import pytest

from tests.chaos.failover import FailoverPlan, failover_storm

# How many stream at once is the machine's doing; the long storm asks for fifty.
PLAN = FailoverPlan(
    seconds=15, streams=8, clients=28, room=17, longest=60, duration=12, grace=2, pause=(0.5, 2.5)
)


@pytest.mark.spec("6.3-a", "6.6-a")
async def test_clients_hear_of_a_fault_only_where_no_worker_could_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOMBYX_STATE", str(tmp_path / "client"))
    report = await failover_storm(tmp_path / "site", PLAN)
    assert report.broken == [], report.table()
    # Fifteen seconds draw about six; a machine that is busy starts workers again more slowly.
    assert sum(report.log.kinds().values()) >= 2
    assert report.counts["requests"]["complete"] > 20
    json.dumps(report.document())
