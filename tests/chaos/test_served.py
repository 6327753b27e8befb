"""How many answers ran at once, by what workers say."""

import json
from pathlib import Path

from tests.chaos.served import Served, most_at_once, served


def test_what_only_touches_does_not_overlap() -> None:
    assert most_at_once([]) == 0
    assert most_at_once([Served("a", 0, 100), Served("b", 100, 200)]) == 1
    assert most_at_once([Served("a", 0, 100), Served("b", 50, 200), Served("c", 60, 70)]) == 3
    assert most_at_once([Served("too short", 0, 1)]) == 0


def test_a_log_is_read_for_its_answers(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    said = {"event": "served", "id": "x", "ms": 250, "timestamp": "2026-01-01T00:00:01.000000Z"}
    log.write_text("not JSON\n" + json.dumps({"event": "linked"}) + "\n" + json.dumps(said) + "\n")
    (one,) = served(log)
    assert (one.id, one.ended_ms - one.begun_ms) == ("x", 250)
