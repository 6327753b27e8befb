"""The JavaScript client's own tests: `npm ci` where the lock changed, compile, `node --test`."""

import subprocess
from pathlib import Path

import fasteners
import pytest

FOLDER = Path(__file__).parents[2] / "clients" / "js"
STAMP = FOLDER / "node_modules" / ".installed"
LOCK = FOLDER / "package-lock.json"
TIMEOUT_SECONDS = 300


def run(*command: str) -> None:
    """Run in the package's folder; its output is shown where it fails."""
    done = subprocess.run(
        command, cwd=FOLDER, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}"


def install() -> None:
    """Install what the lock file names, unless that was done since it changed."""
    if not STAMP.exists() or STAMP.stat().st_mtime < LOCK.stat().st_mtime:
        run("npm", "ci", "--no-fund", "--no-audit")
        STAMP.touch()


@pytest.fixture(scope="session")
def compiled(testrun_uid: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled tests: once for all processes of this run."""
    shared = tmp_path_factory.getbasetemp().parent
    done = shared / f"js-{testrun_uid}"
    with fasteners.InterProcessLock(shared / "js.lock"):
        if not done.exists():
            install()
            run("npm", "run", "--silent", "compile")
            done.touch()
    return FOLDER / "build" / "tests"


def node_test(folder: Path) -> None:
    files = sorted(str(path) for path in folder.glob("*.test.js"))
    assert files
    run("node", "--test", "--test-reporter=spec", *files)


@pytest.mark.timeout(TIMEOUT_SECONDS)
def test_the_javascript_client_keeps_every_rule(compiled: Path) -> None:
    node_test(compiled / "unit")


@pytest.mark.timeout(TIMEOUT_SECONDS)
def test_the_javascript_client_speaks_with_a_running_network(compiled: Path) -> None:
    node_test(compiled / "network")
