"""Schemathesis on the whole OpenAPI document, against a gateway that runs: no 5xx, no surprise.

`BOMBYX_FUZZ_EXAMPLES` asks for more than the few examples per operation of every test run.
"""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import _copy
from tests.network.harness import Network, network

EXAMPLES = int(os.environ.get("BOMBYX_FUZZ_EXAMPLES", "3"))
MANY = 10
SEED = 20_261_122


@dataclass(frozen=True)
class Served:
    """A network that runs in a thread of its own: Schemathesis is a program that waits."""

    url: str
    api_key: str
    admin_key: str
    phases: str


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    folder, ready = tmp_path_factory.mktemp("served"), threading.Event()
    found: list[Network] = []
    stops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    options: dict[str, Any] = {}
    if request.param == "postgresql":
        options["database_url"] = request.getfixturevalue("postgres_module_url")

    async def run() -> None:
        async with network(folder, workers=1, queue_wait_s=1, **options) as net:
            stop = asyncio.Event()
            stops.append((asyncio.get_running_loop(), stop))
            found.append(net)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    assert ready.wait(30)
    (net,) = found
    # What differs between databases is which values they take, and this phase has the odd ones.
    phases = "coverage" if options and EXAMPLES < MANY else "examples,coverage,fuzzing,stateful"
    yield Served(net.url, net.api_key, net.admin_key, phases)
    for loop, stop in stops:
        loop.call_soon_threadsafe(stop.set)
    thread.join(30)


@pytest.fixture(scope="module")
def postgres_module_url(request: pytest.FixtureRequest) -> str:
    server = request.getfixturevalue("postgres_server")
    name = f"schemathesis_{os.getpid()}"
    asyncio.run(_copy(server, name))
    return str(server.get_uri(name))


def schemathesis(served: Served, folder: Path, key: str) -> str:
    """Its words, where it found something."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{served.url}/openapi.json"),
            # A cursor is a text that says nothing, and what a model takes no schema tells whole:
            # many a request that fits is refused all the same.
            *("--exclude-checks", "positive_data_acceptance"),
            *("--checks", "all", "--seed", str(SEED), "--max-examples", str(EXAMPLES)),
            *("--header", f"Authorization: Bearer {key}", "--generation-database", "none"),
            # One worker: CPython 3.11 parses source in two threads at once wrongly, now and then.
            *("--workers", "1", "--continue-on-failure", "--request-timeout", "20"),
            *("--no-color", "--warnings", "off"),
            *("--phases", served.phases),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=100 * EXAMPLES,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_every_route_does_as_the_document_says(served: Served, tmp_path: Path) -> None:
    found = schemathesis(served, tmp_path, served.admin_key)
    if found:
        pytest.fail(found, pytrace=False)
