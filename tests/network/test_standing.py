"""Anybody may ask how a worker stands: whether it is asked, why not, and who is cheaper."""

import json
import time
from typing import Any

import pytest

from bombyx.link.standing import WorkerStanding, parse_standing
from tests.network.harness import MODEL, Network, RunningWorker, network
from tests.network.requests import http

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/v1/confidential/workers/{}/standing"


async def standing(net: Network, worker: str, **query: Any) -> WorkerStanding:
    async with http() as client:
        answer = await client.get(net.url + PATH.format(worker), params=query)
    assert answer.status_code == 200
    return parse_standing(answer.content)


def named(running: RunningWorker) -> str:
    return running.worker.generations.current.worker


@pytest.fixture
def prices() -> list[dict[str, Any]]:
    """Of four workers, from the cheapest on."""
    return [{"price_prompt": many * 1000, "price_completion": many * 2000} for many in range(1, 5)]


@pytest.mark.spec("13.9-a")
async def test_a_standing_names_no_account_and_nothing_of_a_request(shared: Network) -> None:
    worker = named(shared.workers[0])
    async with http() as client:
        text = (await client.get(shared.url + PATH.format(worker))).text
    assert not any(secret in text for secret in (shared.account, shared.api_key, "wallet"))
    fields = {"worker", "gateway", "at", "listed", "reason", "queue", "models", "repute"}
    assert set(json.loads(text)) == fields


async def test_a_listed_worker_learns_who_is_cheaper(
    tmp_path: Any, prices: list[dict[str, Any]]
) -> None:
    async with network(tmp_path, workers=0) as net:
        for one in prices:
            await net.add_worker(**one)
        told = [await standing(net, named(one)) for one in net.workers]
        assert all((one.listed, one.reason) == (True, "listed") for one in told)
        places = [one.models[0].own for one in told]
        assert [place.cheaper for place in places if place] == [0, 1, 2, 3]
        market = told[0].models[0].market
        assert market
        assert (told[0].models[0].model, told[0].models[0].offers) == (MODEL, 4)
        # 1000 tokens of prompt and 500 of completion, per million.
        assert (market.cost.low, market.cost.middle, market.cost.high) == ("2", "4", "6")
        assert (market.prompt.low, market.completion.high) == ("1000", "6000")
        repute = told[0].repute
        assert repute
        assert (repute.breaker, repute.at_once, repute.answered) == ("closed", 4, 0)


async def test_who_is_not_linked_is_told_so_and_may_ask_for_prices(shared: Network) -> None:
    told = await standing(shared, "ab" * 32, model=[MODEL, "nobody"])
    assert (told.listed, told.reason, told.queue) == (False, "not_linked", 0)
    assert [(one.model, one.offers, bool(one.own)) for one in told.models] == [
        (MODEL, 2, False),
        ("nobody", 0, False),
    ]


async def test_why_a_linked_worker_is_not_asked(tmp_path: Any) -> None:
    async with network(tmp_path, workers=1) as net:
        worker = named(net.workers[0])
        await net.context.sanctions.put("worker", worker, "drain", reason="", actor="tests")
        told = await standing(net, worker)
        assert (told.listed, told.reason, bool(told.models[0].own)) == (False, "withheld", False)
        await net.context.sanctions.lift("worker", worker, actor="tests")
        assert (await standing(net, worker)).reason == "listed"
        listed = net.context.registry.all()[0]
        listed.link.draining = True
        assert (await standing(net, worker)).reason == "draining"


async def test_a_broken_worker_learns_that_it_is_asked_last(tmp_path: Any) -> None:
    async with network(tmp_path, workers=1) as net:
        known = net.context.registry.all()[0].standing
        for _ in range(5):
            known.fail(time.monotonic())
        repute = (await standing(net, named(net.workers[0]))).repute
        assert repute
        assert (repute.breaker, repute.failed) == ("open", 5)
        assert repute.success < 0.5


@pytest.mark.parametrize("worker", ["ab", "AB" * 32, "zz" * 32])
async def test_what_is_no_worker_is_404(shared: Network, worker: str) -> None:
    async with http() as client:
        assert (await client.get(shared.url + PATH.format(worker))).status_code == 404


@pytest.mark.parametrize("query", [{"model": ["a b"]}, {"model": ["m"] * 17}])
async def test_what_is_no_list_of_models_is_refused(shared: Network, query: Any) -> None:
    async with http() as client:
        answer = await client.get(shared.url + PATH.format("ab" * 32), params=query)
    assert answer.status_code == 400
