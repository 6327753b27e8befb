"""What the whole of it promises: one sealed request from the stock SDK to the ledger."""

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel

import bombyx
from bombyx.money.cost import Rates, Tokens, price
from gateway.accounts.repository import Accounts
from tests.network.harness import CREDIT, MODEL, network


def ask(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


@pytest.mark.spec("2.5-b")
async def test_sealed_stream_is_answered_metered_and_settled(tmp_path: Path) -> None:
    answers: list[bombyx.VerifiedAnswer] = []
    async with network(tmp_path) as net:
        client = net.sealed(on_receipt=answers.append)
        stream = await client.chat.completions.create(
            model=MODEL,
            messages=ask("say: one two three four"),
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert text.strip() == "one two three four"
        usage = chunks[-1].usage
        assert usage is not None
        assert usage.model_extra is not None
        assert usage.model_extra["bombyx"]["tier"] == "sealed"
        await net.settled()
        (answer,) = answers
        statement = answer.receipt.statement
        counts = statement.tokens
        assert (counts.prompt, counts.completion) == (usage.prompt_tokens, usage.completion_tokens)
        cost = price(
            Tokens(counts.prompt, counts.cached, counts.completion, counts.reasoning),
            Rates.of(statement.prices),
            statement.fee_bps,
        )
        assert await net.balance() == CREDIT - cost.charge
        assert await net.context.store.ledger_sum() == 0
        assert await net.context.store.billing_gap() == 0
        assert await net.context.store.overcommitted() == []
        receipt = await _get(net.url, f"/v1/receipts/{statement.id}", net.api_key)
        assert receipt["disposition"] == "billed"
        assert receipt["receipt"]["statement"]["c"] == statement.c
        journals = [await one.journal.undisposed(net.context.gateway) for one in net.workers]
        assert journals == [[], []]


async def _get(url: str, path: str, key: str) -> Any:
    async with httpx2.AsyncClient(trust_env=False) as http:
        answer = await http.get(url + path, headers={"authorization": f"Bearer {key}"})
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.mark.parametrize("tier", ["sealed", "bare"])
async def test_whole_answers_carry_their_tier_and_receipt(tmp_path: Path, tier: str) -> None:
    async with network(tmp_path) as net:
        client = net.sealed() if tier == "sealed" else net.bare()
        raw = await client.chat.completions.with_raw_response.create(
            model=MODEL, messages=ask("say: hello there")
        )
        assert raw.headers["x-bombyx-tier"] == tier
        answer = raw.parse()
        assert (answer.choices[0].message.content or "").strip() == "hello there"
        await net.settled()
        found = await _get(net.url, f"/v1/receipts/{raw.headers['x-bombyx-id']}", net.api_key)
        assert found["receipt"]["statement"]["tier"] == tier
        assert await net.balance() < CREDIT
        assert await net.context.store.ledger_sum() == 0


@pytest.mark.parametrize("tier", ["sealed", "bare"])
async def test_parse_returns_the_model_asked_for(tmp_path: Path, tier: str) -> None:
    class City(BaseModel):
        name: str
        people: int

    async with network(tmp_path) as net:
        client = net.sealed() if tier == "sealed" else net.bare()
        answer = await client.chat.completions.parse(
            model=MODEL, messages=ask("a city as JSON"), response_format=City
        )
        assert isinstance(answer.choices[0].message.parsed, City)


@pytest.mark.spec("15-a")
async def test_bare_streams_and_labels_itself(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        stream = await net.bare().chat.completions.create(
            model=MODEL, messages=ask("count: 5"), stream=True
        )
        assert stream.response.headers["x-bombyx-tier"] == "bare"
        text = "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])
        assert text.split() == ["1", "2", "3", "4", "5"]
        await net.settled()
        assert await net.context.store.billing_gap() == 0


@pytest.mark.spec("6.5-a")
async def test_client_that_leaves_pays_what_was_signed(tmp_path: Path) -> None:
    async with network(tmp_path, workers=1) as net:
        stream = await net.sealed().chat.completions.create(
            model=MODEL, messages=ask("pace: 20\ncount: 500"), stream=True
        )
        seen = 0
        async for _ in stream:
            seen += 1
            if seen == 5:
                break
        await stream.close()
        await net.settled()
        spent = CREDIT - await net.balance()
        rates = Rates(20_000_000, 5_000_000, 60_000_000, 60_000_000)
        everything = price(Tokens(10, 0, 500, 0), rates, 500).charge
        assert 0 < spent < everything
        load = await net.workers[0].engine.load()
        assert load.running == 0
        assert await net.context.store.billing_gap() == 0


async def test_worker_lost_before_the_answer_fails_over_and_is_billed_once(tmp_path: Path) -> None:
    async with network(tmp_path, workers=2) as net:
        client = net.sealed()
        await client.chat.completions.create(model=MODEL, messages=ask("say: warm"))
        await net.settled()
        before = await net.balance()
        warm = max(one.journal.unpaid(net.context.gateway) for one in net.workers)
        task = asyncio.create_task(
            client.chat.completions.create(model=MODEL, messages=ask("pace: 50\ncount: 20"))
        )
        async with asyncio.timeout(5):
            while not any(run.listed for run in net.context.runs.open_runs()):
                await asyncio.sleep(0.01)
        (run,) = net.context.runs.open_runs()
        assert run.listed is not None
        lost = run.listed.worker
        victim = next(one for one in net.workers if one.worker.generations.current.worker == lost)
        async with asyncio.timeout(5):
            while not (await victim.engine.load()).running:
                await asyncio.sleep(0.01)
        await victim.cut_link()
        answer = await task
        assert (answer.choices[0].message.content or "").split()[-1] == "20"
        await net.settled()
        assert await net.balance() < before
        assert await net.context.store.billing_gap() == 0
        # The loser comes back with its aborted statement and is shown what won instead.
        gateway = net.context.gateway
        c = bytes.fromhex(run.claim.c)
        async with asyncio.timeout(15):
            # It may not even have written that statement yet.
            while len(receipts := await net.context.store.receipts_of(c)) < 2:
                await asyncio.sleep(0.05)
            while await victim.journal.undisposed(gateway):
                await asyncio.sleep(0.05)
        judged = {one.worker: one.disposition.value for one in receipts}
        assert judged[lost] == "superseded"
        assert sorted(judged.values()) == ["billed", "superseded"]
        assert victim.journal.unpaid(gateway) in (0, warm)


@pytest.mark.parametrize("tier", ["sealed", "bare"])
@pytest.mark.parametrize("fault", ["error", "crash"])
async def test_engine_that_fails_first_is_a_named_error(
    tmp_path: Path, tier: str, fault: str
) -> None:
    async with network(tmp_path) as net:
        client = net.sealed() if tier == "sealed" else net.bare()
        with pytest.raises(openai.APIStatusError) as caught:
            await client.chat.completions.create(model=MODEL, messages=ask(f"fault: {fault}"))
        assert caught.value.code == "engine_failed"
        await net.settled()
        assert await net.balance() == CREDIT


@pytest.mark.parametrize("tier", ["sealed", "bare"])
async def test_engine_that_breaks_mid_stream_is_an_error_event(tmp_path: Path, tier: str) -> None:
    async with network(tmp_path) as net:
        client = net.sealed() if tier == "sealed" else net.bare()
        with pytest.raises(openai.APIError) as caught:
            async for _ in await client.chat.completions.create(
                model=MODEL, messages=ask("fault: cut\ncount: 20"), stream=True
            ):
                pass
        assert caught.value.code == "engine_failed"
        await net.settled()
        assert await net.context.store.billing_gap() == 0


@pytest.mark.parametrize("tier", ["sealed", "bare"])
async def test_unknown_model_is_404(tmp_path: Path, tier: str) -> None:
    async with network(tmp_path) as net:
        client = net.sealed() if tier == "sealed" else net.bare()
        with pytest.raises(openai.APIStatusError) as caught:
            await client.chat.completions.create(model="nobody", messages=ask("hi"))
        assert caught.value.status_code in (404, 502)


async def test_wrong_key_is_401_everywhere(tmp_path: Path) -> None:
    async with network(tmp_path, workers=1) as net:
        net.api_key = "bx_live_wrong"
        for client in (net.sealed(), net.bare()):
            with pytest.raises(openai.AuthenticationError) as caught:
                await client.chat.completions.create(model=MODEL, messages=ask("hi"))
            assert caught.value.code == "invalid_api_key"


async def test_account_without_money_is_402_and_not_retried(tmp_path: Path) -> None:
    async with network(tmp_path, workers=1) as net:
        accounts = Accounts(net.context.engine)
        poor = await accounts.create("poor")
        _, key = await accounts.create_key(poor.id, name="poor")
        net.api_key = key.secret
        for client in (net.sealed(), net.bare()):
            with pytest.raises(openai.APIStatusError) as caught:
                await client.chat.completions.create(model=MODEL, messages=ask("hi"))
            assert caught.value.status_code == 402
            assert caught.value.response.headers["x-should-retry"] == "false"
