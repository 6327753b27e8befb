"""docs/openai.md tells the truth about every field, by asking the engines."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bombyx.chat.allowed import DROPPED
from bombyx.chat.paths import CHAT_PATH, COMPLETIONS_PATH, SERVED_PATHS, TOKENIZE_PATH
from bombyx.chat.surface import ENDPOINTS
from tests.worker.engine.field_table import DOCUMENT, SAMPLES, asked, render, run, written
from tests.worker.engine.test_llamacpp import SETTINGS
from worker.engine.llamacpp import LlamaCppEngine
from worker.engine.port import Engine

TAKEN = [
    (path, field)
    for path in (CHAT_PATH, COMPLETIONS_PATH, TOKENIZE_PATH)
    for field in SAMPLES[path]
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def llama() -> AsyncIterator[Engine]:
    made = LlamaCppEngine(SETTINGS)
    await made.start()
    yield made
    await made.close()


@pytest.mark.parametrize("path", SERVED_PATHS)
def test_every_field_has_a_sample(path: str) -> None:
    passed = ENDPOINTS[path].allowed.passed.keys() - {"model"}
    assert SAMPLES[path].keys() == passed


async def test_the_tables_are_as_the_engines_answer() -> None:
    assert written() == await render()


def test_the_fields_that_are_dropped_are_named() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert [name for name in sorted(DROPPED) if f"`{name}`" not in text] == []


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("path", "field"), TAKEN)
async def test_llamacpp_takes_the_field(llama: Engine, path: str, field: str) -> None:
    body = asked(path, field, model="tiny-llama")
    body.setdefault("temperature", 0) if path != TOKENIZE_PATH else None
    assert await run(llama, path, body)
