"""An owner's tools see that a worker starts, and do not see it once it serves or is dead."""

import subprocess
import sys
from pathlib import Path

from bombyx.control.starting import STARTING, is_starting, starting

HELD = """
import pathlib, sys, time
from bombyx.control.starting import starting
with starting(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_it_starts_until_it_is_ready(tmp_path: Path) -> None:
    assert not is_starting(tmp_path)
    with starting(tmp_path) as ready:
        assert is_starting(tmp_path)
        assert (tmp_path / STARTING).stat().st_mode & 0o777 == 0o600
        ready()
        assert not is_starting(tmp_path)
        ready()
    assert list(tmp_path.iterdir()) == []


def test_a_start_that_failed_is_over(tmp_path: Path) -> None:
    with starting(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_was_killed_does_not_start(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HELD, tmp_path], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process, process.stdout:
        assert process.stdout.readline() == b"held\n"
        assert is_starting(tmp_path)
        process.kill()
    assert (tmp_path / STARTING).exists()
    assert not is_starting(tmp_path)


def test_where_nothing_can_be_written_it_starts_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with starting(tmp_path / "file" / "state") as ready:
        assert not is_starting(tmp_path / "file" / "state")
        ready()


def test_the_mark_closes_its_file(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with starting(tmp_path):
            assert is_starting(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
