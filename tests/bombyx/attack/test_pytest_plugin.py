"""The pytest plugin: one test for each attack that fits, and its options."""

import subprocess
import sys
from pathlib import Path

TEST = """
def test_it_holds(bombyx_attack):
    assert bombyx_attack.result == "defeated", bombyx_attack.observed
"""
OWN_VICTIM = """
import pytest
from bombyx.attack.against import Against

@pytest.fixture(scope="session")
def bombyx_against():
    return Against(sidecar="http://127.0.0.1:9", api_key="k")
"""


def pytest_in(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--rootdir", str(folder), *arguments, str(folder)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_a_test_runs_once_for_each_attack(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TEST)
    out = pytest_in(tmp_path, "--bombyx-attack-only", "fresh_key_read,payer_key_planted_readable")
    assert "2 passed" in out, out
    assert "test_it_holds[fresh_key_read]" in out


def test_what_does_not_fit_the_victim_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TEST)
    (tmp_path / "conftest.py").write_text(OWN_VICTIM)
    out = pytest_in(tmp_path, "--bombyx-attack-only", "fresh_key_read,no_valid_key")
    assert "1 passed, 1 skipped" in out, out


def test_a_stray_name_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TEST)
    assert "no attack or role is called nonsense" in pytest_in(
        tmp_path, "--bombyx-attack-only", "nonsense"
    )
