"""Starting, watching and stopping processes, with small stand-ins for the roles."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bombyx.cli.network import supervisor as module
from bombyx.cli.network.child import Recipe, bombyx
from bombyx.cli.network.supervisor import Supervisor, describe_exit
from bombyx.errors import SetupError
from tests.bombyx.cli.network.stand_in import READY, STAY, eventually_gone, recipe


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(said: list[str]) -> Iterator[Supervisor]:
    one = Supervisor(said.append)
    yield one
    one.stop()


def tend_until(supervisor: Supervisor, state: str) -> None:
    """Turn after turn, until everybody is in `state`."""
    for _ in range(500):
        supervisor.tend()
        if all(post.state == state for post in supervisor.posts):
            return
        time.sleep(0.01)
    raise AssertionError([post.state for post in supervisor.posts])


def test_ready_lines_come_in_the_order_asked_for(supervisor: Supervisor, tmp_path: Path) -> None:
    slow = 'import time; time.sleep(.1); print(\'{"name": "slow"}\', flush=True); time.sleep(60)'
    quick = 'import time; print(\'{"name": "quick"}\', flush=True); time.sleep(60)'
    lines = supervisor.start([recipe(tmp_path, "a", slow), recipe(tmp_path, "b", quick)])
    assert [line["name"] for line in lines] == ["slow", "quick"]
    assert list(supervisor.pids()) == ["a", "b"]
    assert {post.state for post in supervisor.posts} == {"running"}


def test_a_start_that_takes_long_tells_how_far_it_is(
    supervisor: Supervisor, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.05)
    code = (
        "import sys, time\n"
        "def log(line): print(line, file=sys.stderr, flush=True); time.sleep(.15)\n"
        "log('hashing the model'); log('starting sglang'); log('{\"event\": \"engine\"}')\n"
        "log('')\n"
    )
    supervisor.start([recipe(tmp_path, "worker-1", code + READY + STAY)])
    told = ["worker-1: hashing the model", "worker-1: starting sglang"]
    assert said in (told, told[1:])  # each once, and never what is for programs


def test_all_processes_share_a_group_that_is_not_ours(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    supervisor.start([recipe(tmp_path, "a", READY + STAY)])
    supervisor.start([recipe(tmp_path, "b", READY + STAY)])
    groups = {os.getpgid(pid) for pid in supervisor.pids().values()}
    assert len(groups) == 1
    assert os.getpgrp() not in groups


def test_a_process_that_ends_early_is_told_with_the_end_of_its_log(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    code = "import sys; [print(f'line {n}', file=sys.stderr) for n in range(20)]; sys.exit(3)"
    with pytest.raises(SetupError, match="a ended with exit code 3 before it was ready") as caught:
        supervisor.start([recipe(tmp_path, "a", code)])
    (note,) = caught.value.__notes__
    assert "line 19" in note
    assert "line 3" not in note


def test_a_process_that_refuses_gives_its_own_reason(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    code = 'print(\'{"error": {"message": "the port is taken"}}\')'
    with pytest.raises(SetupError, match="a did not start: the port is taken"):
        supervisor.start([recipe(tmp_path, "a", code)])


def test_a_process_that_takes_too_long_is_given_up(supervisor: Supervisor, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="a was not ready within 0 s"):
        supervisor.start([recipe(tmp_path, "a", "import time; " + STAY, ready_seconds=0.1)])


def test_a_line_that_is_no_document_is_an_empty_one(supervisor: Supervisor, tmp_path: Path) -> None:
    code = "import time; print('[1]\\n' + 'x' * 200000, flush=True); " + STAY
    assert supervisor.start([recipe(tmp_path, "a", code)]) == [{}]
    supervisor.tend()


def test_who_ended_is_reported_and_started_again_with_growing_delays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_BACKOFF_SECONDS", 0.01)
    said: list[str] = []
    supervisor = Supervisor(said.append)
    try:
        supervisor.start([recipe(tmp_path, "a", READY + STAY)])
        first = supervisor.pids()["a"]
        for _ in range(2):
            os.kill(supervisor.pids()["a"], signal.SIGKILL)
            tend_until(supervisor, "restarting")
            tend_until(supervisor, "running")
        assert supervisor.pids()["a"] != first
        assert said == [
            "a ended with SIGKILL; starting it again in 0.01 s",
            "a ended with SIGKILL; starting it again in 0.02 s",
        ]
    finally:
        supervisor.stop()


def test_who_keeps_ending_is_given_up(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_BACKOFF_SECONDS", 0.0)
    monkeypatch.setattr(module, "MAX_CRASHES", 2)
    supervisor.start([recipe(tmp_path, "a", READY)])
    with pytest.raises(SetupError, match="a ended 3 times in a row"):
        tend_until(supervisor, "never")


def test_who_is_started_again_and_never_ready_counts_as_ended(
    supervisor: Supervisor, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_BACKOFF_SECONDS", 0.0)
    flag = tmp_path / "started"
    code = (
        f"import pathlib, time; flag = pathlib.Path({str(flag)!r})\n"
        "print('{}', flush=True) if not flag.exists() else time.sleep(60)\nflag.touch()"
    )
    supervisor.start([recipe(tmp_path, "a", code, ready_seconds=0.3)])
    for _ in range(300):
        supervisor.tend()
        if len(said) == 2:
            break
        time.sleep(0.01)
    assert "SIGKILL" in said[1]


def test_stopping_goes_from_the_last_started_to_the_first(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    ends = tmp_path / "ends"
    ends.touch()

    def role(name: str) -> Recipe:
        code = (
            "import signal, sys, time\n"
            f"def end(*_): open({str(ends)!r}, 'a').write('{name} '); sys.exit(0)\n"
            "signal.signal(signal.SIGTERM, end)\nprint('{}', flush=True)\ntime.sleep(60)"
        )
        return recipe(tmp_path, name, code)

    for name in ("gateway", "worker", "sidecar"):
        supervisor.start([role(name)])
    supervisor.stop()
    assert ends.read_text() == "sidecar worker gateway "


def test_who_does_not_leave_is_killed_and_so_is_what_it_started(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    code = (
        "import json, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(json.dumps({'child': child.pid}), flush=True)\ntime.sleep(60)"
    )
    (line,) = supervisor.start([recipe(tmp_path, "a", code, stop_seconds=0.1)])
    pid = supervisor.pids()["a"]
    supervisor.stop()
    assert eventually_gone(pid)
    assert eventually_gone(line["child"])


def test_a_child_on_the_leash_dies_with_its_parent(tmp_path: Path) -> None:
    """The parent is killed with SIGKILL; the kernel and the pipe tell the child."""
    child = (
        "import os, time; from bombyx.cli.network.leash import tie; tie(os.getppid())\n"
        "print('{}', flush=True); time.sleep(60)"
    )
    parent = (
        "import pathlib, sys, time\n"
        "from bombyx.cli.network.child import Recipe\n"
        "from bombyx.cli.network.supervisor import Supervisor\n"
        f"log = pathlib.Path({str(tmp_path / 'child.log')!r})\n"
        f"one = Recipe('a', (sys.executable, '-c', {child!r}), log)\n"
        "supervisor = Supervisor(print)\nsupervisor.start([one])\n"
        "print('{\"child\": %d}' % supervisor.pids()['a'], flush=True)\ntime.sleep(60)"
    )
    outer = Supervisor(print)
    try:
        (line,) = outer.start([recipe(tmp_path, "parent", parent)])
        os.kill(outer.pids()["parent"], signal.SIGKILL)
        assert eventually_gone(line["child"])
    finally:
        outer.stop()


def test_a_child_whose_parent_is_gone_already_leaves(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    code = "from bombyx.cli.network.leash import tie; tie(1)"
    with pytest.raises(SetupError, match="exit code 1"):
        supervisor.start([recipe(tmp_path, "a", code)])


@pytest.mark.parametrize(
    ("code", "words"), [(0, "exit code 0"), (-9, "SIGKILL"), (-99, "signal 99")]
)
def test_exit_codes_in_words(code: int, words: str) -> None:
    assert describe_exit(code) == words


def test_processes_never_import_from_the_working_directory() -> None:
    assert bombyx("gateway")[:2] == (sys.executable, "-P")
