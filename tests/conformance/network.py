"""The network that the suites run against: processes of `bombyx up`, and keys made for them."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BOMBYX = str(Path(sys.executable).with_name("bombyx"))
CREDIT = str(10**12)
STOP_SECONDS = 30
FIRST_PORT = 24_000


@dataclass(frozen=True, slots=True)
class Running:
    """Where the network is. `key` has limits that the suites stay below, but for who tries them."""

    model: str
    tiers: Mapping[str, str]
    key: str
    narrow_key: str
    poor_key: str


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Running]:
    """A network with the scripted engine, stopped when the block ends.

    Prepaid, so that a poor key is refused: with a chain the sidecar would pay for it by channel.
    """
    port = FIRST_PORT + os.getpid() % 500 * 10
    ports = ("--port", str(port), "--gateway-port", str(port + 5))
    command = [BOMBYX, "up", "--engine", "scripted", "--chain", "none", "--json", *ports]
    command += ["--state", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            yield _described(folder, told)
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)


def _described(folder: Path, told: Any) -> Running:
    return Running(
        model=told["models"][0],
        tiers={"sealed": told["sidecar"] + "/v1", "bare": told["gateway"] + "/v1"},
        key=_key(folder, CREDIT, "--requests-per-minute", "30000", "--concurrent", "16"),
        narrow_key=_key(folder, CREDIT, "--requests-per-minute", "1"),
        poor_key=_key(folder, "1"),
    )


def _key(folder: Path, credit: str, *limits: str) -> str:
    made = _errand(folder, "create", "--name", "conformance", "--credit-nano", credit)
    if limits:
        _errand(folder, "limit", made["key_id"], "--tokens-per-minute", "100000000", *limits)
    return str(made["api_key"])


def _errand(folder: Path, *arguments: str) -> Any:
    command = [BOMBYX, "keys", *arguments, "--state", str(folder), "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
