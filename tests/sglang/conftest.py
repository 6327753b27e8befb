"""One SGLang and one llama.cpp for all modules: SGLang takes half a minute and two gigabytes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.sglang import lane
from worker.engine.supervised import SupervisedEngine

HERE = Path(__file__).parent
KINDS = ("sglang", "llamacpp")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real SGLang is started only where it is asked for; llama.cpp runs the same everywhere."""
    missing = pytest.mark.skip(reason="make test-sglang builds what this needs")
    for item in items:
        if HERE not in item.path.parents:
            continue
        item.add_marker(pytest.mark.timeout(300))
        kind = getattr(item, "callspec", None) and item.callspec.params.get("kind")  # type: ignore[attr-defined]
        if kind != "llamacpp" and not lane.is_wanted():
            item.add_marker(missing)


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Client identities of these stories lie in a folder of their own."""
    monkeypatch.setenv("BOMBYX_STATE", str(tmp_path / "client"))


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sglang(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SupervisedEngine]:
    made = lane.sglang(tmp_path_factory.mktemp("sglang"))
    await made.start()
    yield made
    await made.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def llamacpp() -> AsyncIterator[SupervisedEngine]:
    made = lane.llamacpp()
    await made.start()
    yield made
    await made.close()


@pytest.fixture
def owned(kind: str, request: pytest.FixtureRequest) -> SupervisedEngine:
    """The running engine of this kind."""
    found: SupervisedEngine = request.getfixturevalue(kind)
    return found
