"""Compile the contracts: `make contracts`, or `python -m ton.contracts.build [--check]`.

The compiler is @ton/tolk-js, pinned with its hash in package-lock.json: the same sources make the
same bytes everywhere. With `--check` nothing is written and a difference is an error.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ton.contracts import FOLDER
from ton.errors import EmulatorMissing

CONTRACTS = ("payment_channel",)
_COMPILER = Path("node_modules/@ton/tolk-js/dist/cli.js")
_SECONDS = 60


class DoesNotCompile(Exception):
    """The compiler's complaint."""


def compile_contract(name: str, sources: Path = FOLDER) -> dict[str, str]:
    """The artefact of one contract; raises `DoesNotCompile` or `EmulatorMissing`."""
    compiler, node = FOLDER / _COMPILER, shutil.which("node")
    if node is None or not compiler.is_file():
        raise EmulatorMissing(
            f"there is no Tolk compiler below {FOLDER}: run `make tools`, or `npm ci` there"
        )
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "out.json"
        command = [node, str(compiler), "-o", str(target), "-C", str(sources), f"{name}.tolk"]
        done = subprocess.run(  # noqa: S603 - our own compiler on our own files
            command, capture_output=True, text=True, check=False, timeout=_SECONDS
        )
        if done.returncode:
            raise DoesNotCompile(done.stderr.strip() or done.stdout.strip())
        made = json.loads(target.read_bytes())
    return {
        "name": name,
        "compiler": f"tolk {made['tolkVersion']}",
        "code_hash": made["codeHashHex"].lower(),
        "code_boc": made["codeBoc64"],
    }


def main() -> int:
    """Write the artefacts, or compare them."""
    parser = argparse.ArgumentParser(prog="make contracts", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with what is committed")
    check = parser.parse_args().check
    stale = False
    for name in CONTRACTS:
        path = FOLDER / f"{name}.json"
        text = json.dumps(compile_contract(name), indent=2) + "\n"
        if check:
            stale |= not path.is_file() or path.read_text(encoding="utf-8") != text
        else:
            path.write_text(text, encoding="utf-8")
        sys.stderr.write(f"{name} {json.loads(text)['code_hash']}\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
