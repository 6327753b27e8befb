"""Limits of keys, as clients meet them: sealed and bare, with what SDKs read."""

import asyncio
import json
from typing import Any

import pytest

from gateway.accounts.repository import Accounts
from gateway.metering.rationing import SLOTS
from gateway.metering.rows import KeyLimits
from tests.network.harness import MODEL, Network
from tests.network.requests import bearer, body, directory, error_of, http, post, seal

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIX = {
    f"x-ratelimit-{what}-{of}"
    for what in ("limit", "remaining", "reset")
    for of in ("requests", "tokens")
}


async def limited(net: Network, **limits: Any) -> tuple[str, str]:
    """Id and secret of a key with limits."""
    accounts = Accounts(net.context.engine)
    record, key = await accounts.create_key(net.account, name="k", limits=KeyLimits(**limits))
    return record.id, key.secret


async def ask(net: Network, key: str, tier: str, **fields: Any) -> Any:
    content = body("say: x", **{"max_tokens": 50, **fields})
    if tier == "bare":
        return await post(net, json.dumps(content).encode(), key=key, media="application/json")
    request = seal(net, (await directory(net)).workers, content)
    return await post(net, request.encode(), key=key)


@pytest.mark.parametrize("tier", ["sealed", "bare"])
async def test_requests_a_minute(shared: Network, tier: str) -> None:
    _, key = await limited(shared, requests=1, tokens=10**6)
    answers = [await ask(shared, key, tier) for _ in range(3)]
    taken = [answer for answer in answers if answer.status_code == 200]
    assert 1 <= len(taken) <= 2  # two where a minute ended in between
    assert all(set(answer.headers) >= SIX for answer in answers)
    assert taken[0].headers["x-ratelimit-limit-requests"] == "1"
    assert taken[0].headers["x-ratelimit-remaining-requests"] == "0"
    refused = answers[-1]
    assert error_of(refused) == (429, "rate_limit_exceeded")
    assert 0 < int(refused.headers["retry-after-ms"]) <= 60_000
    assert 0 < int(refused.headers["retry-after"]) <= 60


async def test_the_same_sealed_bytes_count_once(shared: Network) -> None:
    _, key = await limited(shared, requests=1)
    request = seal(shared, (await directory(shared)).workers, body("say: once")).encode()
    for _ in range(3):
        assert (await post(shared, request, key=key)).status_code == 200


@pytest.mark.parametrize("tier", ["sealed", "bare"])
async def test_tokens_a_minute_count_as_signed(shared: Network, tier: str) -> None:
    _, key = await limited(shared, tokens=30_000)
    for _ in range(10):  # each may use thousands, and uses few
        assert (await ask(shared, key, tier)).status_code == 200
        await shared.settled()
    _, small = await limited(shared, tokens=10)
    refused = await ask(shared, small, tier)
    assert error_of(refused) == (429, "rate_limit_exceeded")
    assert refused.headers["x-should-retry"] == "false"
    assert "retry-after-ms" not in refused.headers


@pytest.mark.parametrize("tier", ["sealed", "bare"])
async def test_a_monthly_budget_ends_with_insufficient_quota(shared: Network, tier: str) -> None:
    _, key = await limited(shared, nano=1)
    refused = await ask(shared, key, tier)
    assert error_of(refused) == (429, "insufficient_quota")
    assert refused.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("tier", ["sealed", "bare"])
async def test_a_key_may_name_its_models_only(shared: Network, tier: str) -> None:
    _, key = await limited(shared, models=("another",))
    refused = await ask(shared, key, tier)
    assert error_of(refused) == (403, "forbidden")
    assert refused.json()["error"]["param"] == "model"
    _, key = await limited(shared, models=("another", MODEL))
    assert (await ask(shared, key, tier)).status_code == 200


@pytest.mark.parametrize("tier", ["sealed", "bare"])
async def test_requests_at_once_come_back_when_they_end(shared: Network, tier: str) -> None:
    named, key = await limited(shared, slots=2)
    for _ in range(2):
        answers = await asyncio.gather(*(ask(shared, key, tier) for _ in range(8)))
        served = [answer for answer in answers if answer.status_code == 200]
        assert len(served) >= 2
        for answer in answers:
            assert answer.status_code == 200 or error_of(answer) == (429, "rate_limit_exceeded")
        ration = shared.context.meter.rations.of(named, KeyLimits(slots=2))
        assert ration.free[SLOTS] + ration.left[SLOTS] == 2
        ration.denied.clear()


async def test_a_key_without_limits_is_told_of_none(shared: Network) -> None:
    answer = await ask(shared, shared.api_key, "bare")
    assert not SIX & set(answer.headers)


async def test_a_key_sees_its_own_limits_and_spend(shared: Network) -> None:
    named, key = await limited(shared, nano=10**9, models=(MODEL,))
    answer = await ask(shared, key, "bare")
    assert answer.status_code == 200, answer.text
    await shared.settled()
    async with http() as client:
        shown = (await client.get(shared.base_url + "/key", headers=bearer(key))).json()
    assert (shown["id"], shown["account"], shown["object"]) == (named, shared.account, "key")
    assert shown["limits"]["models"] == [MODEL]
    assert shown["limits"]["monthly_budget_nano"] == str(10**9)
    spent, left = int(shown["spend"]["month_nano"]), int(shown["spend"]["left_nano"])
    assert spent > 0
    assert spent + left == 10**9
    assert key not in json.dumps(shown)
