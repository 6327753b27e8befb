"""Client identities of these stories lie in a folder of their own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.network.harness import Network, network


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOMBYX_STATE", str(tmp_path / "client"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Network]:
    """One network for all cases of a table; they leave it as they found it, but for money."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("shared")
        patch.setenv("BOMBYX_STATE", str(folder / "client"))
        async with network(folder, max_request_mb=1) as net:
            yield net


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def empty(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Network]:
    """A gateway without workers of its own, whose patience is short."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("empty")
        patch.setenv("BOMBYX_STATE", str(folder / "client"))
        async with network(folder, workers=0, first_byte_stream_s=1, first_byte_whole_s=1) as net:
            yield net
