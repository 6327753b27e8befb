"""`Idempotency-Key` on the bare tier (SPEC 14.4): one key, one billed answer."""

import asyncio
import json
from typing import Any

import httpx2
import pytest

from tests.network.harness import MODEL, Network
from tests.network.requests import CHAT, bearer, error_of, http

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def ask(net: Network, key: str, text: str, **fields: Any) -> httpx2.Response:
    content = {"model": MODEL, "messages": [{"role": "user", "content": text}], **fields}
    async with http() as client:
        return await client.post(
            net.url + CHAT,
            json=content,
            headers={"idempotency-key": key, **bearer(net.api_key)},
        )


@pytest.mark.spec("14.4-a")
async def test_a_repetition_is_not_run_again_and_shows_the_receipt(shared: Network) -> None:
    first = await ask(shared, "once", "say: once")
    assert first.status_code == 200
    await shared.settled()
    spent = await shared.balance()
    again = await ask(shared, "once", "say: once")
    assert error_of(again) == (409, "outcome")
    receipt = json.loads(again.content)["receipt"]
    assert receipt["statement"]["id"] == first.headers["x-bombyx-id"]
    await shared.settled()
    assert await shared.balance() == spent
    assert await shared.context.store.billing_gap() == 0


async def test_the_same_key_with_another_body_is_a_conflict(shared: Network) -> None:
    assert (await ask(shared, "other", "say: this")).status_code == 200
    await shared.settled()
    spent = await shared.balance()
    assert error_of(await ask(shared, "other", "say: that")) == (409, "idempotency_conflict")
    await shared.settled()
    assert await shared.balance() == spent


@pytest.mark.spec("14.4-a")
async def test_repetitions_at_the_same_time_are_charged_once(shared: Network) -> None:
    before = await shared.balance()
    answers = await asyncio.gather(*(ask(shared, "race", "pace: 20\ncount: 5") for _ in range(5)))
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [200, 409, 409, 409, 409]
    await shared.settled()
    charged = [
        json.loads((await fetch(shared, one.headers["x-bombyx-id"])).content)["charge_nano"]
        for one in answers
        if one.status_code == 200
    ]
    assert before - await shared.balance() == int(charged[0])


async def fetch(net: Network, request_id: str) -> httpx2.Response:
    async with http() as client:
        return await client.get(f"{net.url}/v1/receipts/{request_id}", headers=bearer(net.api_key))


async def test_an_answer_that_cost_nothing_may_be_asked_for_again(shared: Network) -> None:
    for _ in range(2):
        assert error_of(await ask(shared, "free", "fault: error"))[1] == "engine_failed"
        await shared.settled()


async def test_a_key_must_be_printable_and_short(shared: Network) -> None:
    assert error_of(await ask(shared, "x" * 256, "say: hi")) == (400, "invalid_request")
