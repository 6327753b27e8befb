"""Whoever gives an order is answered, whatever becomes of it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import structlog

from bombyx.control.asking import give
from bombyx.control.wire import Order
from bombyx.errors import JournalFailed, SetupError
from worker.control.server import control_socket


@pytest.mark.parametrize(
    ("raised", "sentence"),
    [
        (KeyError("canary"), r"^the worker failed at this order \(KeyError\)$"),
        (OSError(28, "canary"), r"^the worker failed at this order \(OSError\)$"),
        (TimeoutError("canary"), r"^the worker failed at this order \(TimeoutError\)$"),
        (ValueError("canary"), r"^the worker failed at this order \(ValueError\)$"),
        (JournalFailed("the journal is gone"), r"^the journal is gone$"),
    ],
)
async def test_an_order_that_fails_is_answered_in_a_sentence_without_its_words(
    tmp_path: Path, raised: Exception, sentence: str
) -> None:
    async def obey(order: Order) -> dict[str, Any]:
        raise raised

    with structlog.testing.capture_logs() as logs:
        async with control_socket(tmp_path, obey):
            with pytest.raises(SetupError, match=sentence):
                await asyncio.to_thread(give, tmp_path, Order("status"))
    kinds = [one["kind"] for one in logs if one["event"] == "order_failed"]
    assert kinds == ([] if isinstance(raised, JournalFailed) else [type(raised).__name__])
    assert "canary" not in str(logs)


async def test_an_answer_that_cannot_be_written_is_one_too(tmp_path: Path) -> None:
    async def obey(order: Order) -> dict[str, Any]:
        return {"told": object()}

    async with control_socket(tmp_path, obey):
        with pytest.raises(SetupError, match="failed at this order"):
            await asyncio.to_thread(give, tmp_path, Order("status"))
