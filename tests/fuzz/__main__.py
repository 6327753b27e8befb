"""Fuzz every reader with atheris: `make fuzz ARGS="--seconds 60 header open"`.

Corpora grow in `build/fuzz/READER/corpus`, from good bytes on; what breaks a reader is kept in
`build/fuzz/READER` and makes the run fail. Slow inputs (10 s) and memory (1 GiB) count as broken.
"""

import argparse
import importlib.util
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

from tests.fuzz.readers import READERS
from tests.fuzz.seeds import seeds

FOLDER = Path("build/fuzz")
SECONDS = 20
JOBS = 2
MAX_INPUT_BYTES = 64 * 2**10
MAX_INPUT_SECONDS = 10
MAX_MEMORY_MIB = 1024
_START_SECONDS = 60
"""For imports, and for an input that hangs to be noticed."""


def prepare(name: str) -> Path:
    """The reader's folder, with its good bytes in the corpus."""
    folder = FOLDER / name
    (folder / "corpus").mkdir(parents=True, exist_ok=True)
    for good in seeds()[name]:
        path = folder / "corpus" / sha256(good).hexdigest()[:16]
        if not path.exists():
            path.write_bytes(good)
    return folder


def fuzz(name: str, seconds: int) -> tuple[str, bool, str]:
    """Name, whether it held, and the last line or what broke."""
    folder = prepare(name)
    command = [
        *(sys.executable, "-m", "tests.fuzz.target", name),
        f"-max_total_time={seconds}",
        f"-timeout={MAX_INPUT_SECONDS}",
        f"-rss_limit_mb={MAX_MEMORY_MIB}",
        f"-max_len={MAX_INPUT_BYTES}",
        f"-artifact_prefix={folder}/",
        "-print_final_stats=0",
        str(folder / "corpus"),
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, check=False, timeout=seconds + _START_SECONDS
        )
    except subprocess.TimeoutExpired:
        return name, False, "did not stop"
    lines = done.stderr.decode("utf-8", "replace").splitlines()
    (folder / "log").write_text("\n".join(lines) + "\n", "utf-8")
    held = done.returncode == 0
    return name, held, _summary(lines, held=held)


def _summary(lines: list[str], *, held: bool) -> str:
    wanted = "Done " if held else "Error"
    return next((line for line in reversed(lines) if wanted in line), lines[-1] if lines else "")


def say(line: str) -> None:
    """A line for whoever watches."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    """0 if every reader held, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=SECONDS, help="for each reader")
    parser.add_argument("--jobs", type=int, default=JOBS, help="readers at a time")
    parser.add_argument("readers", nargs="*", choices=[[], *READERS], help="all, if none is named")
    chosen = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        say("fuzz: skipped, since there is no wheel of atheris for this machine and Python")
        return 0
    names = chosen.readers or list(READERS)
    broken = 0
    with ThreadPoolExecutor(chosen.jobs) as pool:
        for name, held, said in pool.map(lambda name: fuzz(name, chosen.seconds), names):
            say(f"{'held  ' if held else 'BROKEN'} {name:16} {said}")
            broken += not held
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
