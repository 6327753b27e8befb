"""Sealed requests through a whole network to a real model: the same by SGLang and llama.cpp."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest
import pytest_asyncio
from tokenizers import Tokenizer

from bombyx.client.identity import Identity
from bombyx.client.opening import load_identity, unix_seconds
from bombyx.client.session import Session
from bombyx.client.transport_httpx2 import DEFAULT_TIMEOUT, sealed_async_client
from bombyx.money.cost import Rates, Tokens, price
from gateway.accounts.repository import Accounts
from tests.network.harness import CREDIT, Network, network
from tests.network.requests import FEE_BPS
from tests.sglang import lane
from tests.sglang.lane import COUNTS, ENDLESS, NAME, QUESTION, REPLY, Lent
from worker.engine.supervised import SupervisedEngine

pytestmark = pytest.mark.asyncio(loop_scope="session")

LONG_PROMPT = " ".join(f"line {n} of a letter." for n in range(60)) + " " + QUESTION


@pytest_asyncio.fixture(loop_scope="session")
async def net(tmp_path: Path, owned: SupervisedEngine) -> AsyncIterator[Network]:
    engine = Lent(owned)
    async with network(tmp_path, workers=0, engine=engine) as made:
        await made.add_worker(engine, grace_seconds=60)
        yield made


def ask(prompt: str = QUESTION, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    return {"model": NAME, "messages": messages, "temperature": 0, "max_tokens": 30, **fields}


async def stream(client: openai.AsyncOpenAI, **fields: Any) -> tuple[str, Any]:
    """Text and usage of a streamed answer."""
    text, usage = "", None
    asked = ask(**fields, stream_options={"include_usage": True})
    async for chunk in await client.chat.completions.create(stream=True, **asked):
        usage = chunk.usage or usage
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
    return text, usage


async def idle(engine: SupervisedEngine, seconds: float) -> float:
    """How long until nothing runs; raises `TimeoutError` beyond `seconds`."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(seconds):
        while (await engine.load()).running:
            await asyncio.sleep(0.01)
    return loop.time() - began


async def spent_of(net: Network) -> int:
    """What the account has paid, once nothing is open."""
    await net.settled()
    return CREDIT - await net.balance()


async def test_a_sealed_stream_is_billed_by_its_token_ids(net: Network) -> None:
    text, usage = await stream(net.sealed())
    assert text == REPLY
    assert (usage.prompt_tokens, usage.completion_tokens) == COUNTS
    tokenizer = Tokenizer.from_file(str(lane.MODEL / "tokenizer.json"))
    rendered = f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"
    assert len(tokenizer.encode(rendered).ids) == usage.prompt_tokens
    assert len(tokenizer.encode(text).ids) + 1 == usage.completion_tokens  # and its end
    spent = await spent_of(net)
    (offer,) = net.workers[0].worker.generations.current.offers.published
    tokens = Tokens(prompt=COUNTS[0], completion=COUNTS[1])
    cost = price(tokens, Rates.of(offer.offer.prices), FEE_BPS)
    assert spent == cost.charge == int(usage.bombyx["charge_nano"])


async def test_a_whole_answer_says_the_same(net: Network) -> None:
    answer = await net.sealed().chat.completions.create(**ask())
    assert answer.choices[0].message.content == REPLY
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == COUNTS
    assert answer.id.startswith("chatcmpl-")
    assert answer.model == NAME


async def test_a_client_that_leaves_stops_the_engine_within_a_second(
    net: Network, owned: SupervisedEngine
) -> None:
    slowly = {**ENDLESS, "logprobs": True, "top_logprobs": 20}
    for choices in (1, 2):
        answer = await net.sealed().chat.completions.create(
            stream=True, n=choices, **{**ask("Count from 1 to 40."), **slowly}
        )
        seen = 0
        async for _ in answer:
            seen += 1
            if seen == 6:
                break
        assert (await owned.load()).running >= 1
        await answer.close()
        assert await idle(owned, 1) < 1
    spent = await spent_of(net)
    (offer,) = net.workers[0].worker.generations.current.offers.published
    rates = Rates.of(offer.offer.prices)
    least = price(Tokens(prompt=COUNTS[0], completion=6), rates, FEE_BPS).charge
    whole = price(Tokens(prompt=100, completion=3 * 1500), rates, FEE_BPS).charge
    assert least < spent < whole


@asynccontextmanager
async def payer(net: Network, folder: Path) -> AsyncIterator[openai.AsyncOpenAI]:
    """A client with a payer key and a cache secret of its own, in an account of its own."""
    account, key = await _account(net)
    identity: Identity = load_identity(folder / account)
    session = Session(net.policy, identity, clock=unix_seconds, draw=os.urandom)
    http = sealed_async_client(session, timeout=DEFAULT_TIMEOUT, transport=None)
    async with openai.AsyncOpenAI(
        base_url=net.base_url, api_key=key, http_client=http, max_retries=0
    ) as client:
        yield client


async def _account(net: Network) -> tuple[str, str]:
    accounts = Accounts(net.context.engine)
    account = await accounts.create("payer")
    await accounts.credit(account.id, CREDIT, txn=f"seed-{account.id}")
    _, key = await accounts.create_key(account.id, name="payer")
    return account.id, key.secret


async def cached(client: openai.AsyncOpenAI) -> int:
    answer = await client.chat.completions.create(**ask(LONG_PROMPT))
    assert answer.usage is not None
    assert answer.usage.prompt_tokens_details is not None
    return answer.usage.prompt_tokens_details.cached_tokens or 0


async def test_a_prefix_is_cached_for_its_payer_alone(
    net: Network, kind: str, tmp_path: Path
) -> None:
    async with payer(net, tmp_path) as one, payer(net, tmp_path) as other:
        assert await cached(one) == 0
        again = await cached(one)
        assert await cached(other) == 0
        assert await cached(one) == again
    if kind == "sglang":
        assert again >= 64
        assert again % 64 == 0
    else:
        assert again == 0  # llama.cpp knows no salts: its cache is off


async def test_an_answer_follows_a_schema(net: Network) -> None:
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}},
        "required": ["ok"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    text, _ = await stream(net.sealed(), response_format=form)
    assert isinstance(json.loads(text)["ok"], bool)


@pytest.mark.parametrize(
    ("prompt", "model", "status", "code"),
    [
        ("canary " * 4000, NAME, 400, "context_length_exceeded"),
        (QUESTION, "nobody", 404, "model_not_found"),
        ("", NAME, 400, "unsupported_parameter"),
    ],
)
async def test_errors_have_openais_shape_and_no_echo(
    net: Network, prompt: str, model: str, status: int, code: str
) -> None:
    extra = {} if prompt else {"nonsense": "canary"}
    with pytest.raises(openai.APIStatusError) as caught:
        await net.sealed().chat.completions.create(
            **{**ask(prompt), "model": model}, extra_body=extra
        )
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert "canary" not in str(caught.value)
    assert await spent_of(net) == 0


async def test_fields_that_are_the_workers_own_are_stripped(net: Network) -> None:
    privileged = {
        "rid": "mine",
        "cache_salt": "theirs",
        "extra_key": "theirs",
        "priority": 9,
        "ignore_eos": True,
        "input_ids": [5, 5, 5],
        "return_meta_info": True,
        "return_token_ids": True,
        "custom_logit_processor": "pickle",
        "session_params": {"id": "x"},
    }
    answer = await net.sealed().chat.completions.create(**ask(), extra_body=privileged)
    told = answer.model_dump(exclude_unset=True)
    assert told["choices"][0]["message"]["content"] == REPLY
    private = {"sglext", "meta_info", "metadata", "matched_stop", "prompt_token_ids", "token_ids"}
    assert not private & (told.keys() | told["choices"][0].keys())


async def test_a_killed_engine_ends_its_stream_is_paid_for_it_and_comes_back(
    net: Network, owned: SupervisedEngine
) -> None:
    first = owned.pid
    assert first is not None
    slowly = {**ENDLESS, "logprobs": True, "top_logprobs": 20}
    answer = await net.sealed().chat.completions.create(
        stream=True, **{**ask("Count from 1 to 40."), **slowly}
    )
    with pytest.raises(openai.APIError):
        await _read_until_dead(answer, first)
    assert await spent_of(net) > 0
    async with asyncio.timeout(200):
        while owned.pid in (None, first):
            await asyncio.sleep(0.1)
    text, _ = await stream(await _served_again(net))
    assert text == REPLY
    assert not _group(first)


async def _read_until_dead(answer: Any, pid: int) -> None:
    seen = 0
    async for _ in answer:
        seen += 1
        if seen == 5:
            os.kill(pid, signal.SIGKILL)


async def _served_again(net: Network) -> openai.AsyncOpenAI:
    """A client, once the gateway has heard that the worker has slots."""
    client = net.sealed()
    async with asyncio.timeout(20):
        while True:
            try:
                await client.chat.completions.create(**ask())
            except openai.APIStatusError:
                await asyncio.sleep(0.2)
            else:
                return client


def _group(leader: int) -> list[int]:
    """Live processes of a server's group."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


async def test_a_worker_that_drains_lets_a_stream_end(net: Network) -> None:
    answer = await net.sealed().chat.completions.create(
        stream=True, **{**ask("Count from 1 to 40."), "max_tokens": 100}
    )
    await anext(aiter(answer))
    stopping = asyncio.create_task(net.workers[0].worker.close())
    reasons = [c.finish_reason async for chunk in answer for c in chunk.choices]
    await stopping
    assert [one for one in reasons if one]
    assert await spent_of(net) > 0
