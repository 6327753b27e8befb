"""SPEC 12: a gateway that guesses what its clients ask, by what a worker's prefix cache gives away.

The gateway is a client too: it may seal prompts of its own, under any payer and account that it
makes up, and read two signs of a cached prefix: the signed `cached` count and the time to the first
token. Each attack runs twice: against an engine that ignores salts, where it must succeed (else the
test shows nothing), and against the worker as it is.
"""

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from bombyx.client.identity import Identity
from bombyx.client.opening import load_identity, unix_seconds
from bombyx.client.session import Session
from bombyx.client.transport_httpx2 import DEFAULT_TIMEOUT, sealed_async_client
from bombyx.money.statement import Status
from bombyx.settings import state_directory
from tests.network.harness import MODEL, Network, network
from tests.worker.engine.contract import collect
from worker.engine.port import EngineRequest
from worker.engine.scripted import Scripted, ScriptedEngine

ILLNESSES = ("anaemia", "asthma", "diabetes", "epilepsy", "gout", "migraine")
SECRET = "epilepsy"
FORM = "the patient suffers from {} and asks : " + " ".join(f"line{n}" for n in range(70))
"""What all prompts of an application have in common is known to whoever uses it."""
PREFILL_SECONDS = 0.002


def prompt(illness: str) -> list[Any]:
    return [{"role": "user", "content": FORM.format(illness)}]


@asynccontextmanager
async def user(net: Network, identity: Identity) -> AsyncIterator[openai.AsyncOpenAI]:
    session = Session(net.policy, identity, clock=unix_seconds, draw=os.urandom)
    http = sealed_async_client(session, timeout=DEFAULT_TIMEOUT, transport=None)
    async with openai.AsyncOpenAI(
        base_url=net.base_url, api_key=net.api_key, http_client=http, max_retries=0
    ) as client:
        yield client


async def fresh(client: openai.AsyncOpenAI, illness: str) -> float:
    """The sign that is signed: prompt tokens that were not billed at the cached price."""
    answer = await client.chat.completions.create(model=MODEL, messages=prompt(illness))
    assert answer.usage is not None
    assert answer.usage.prompt_tokens_details is not None
    return answer.usage.prompt_tokens - (answer.usage.prompt_tokens_details.cached_tokens or 0)


async def delay(client: openai.AsyncOpenAI, illness: str) -> float:
    """The sign that cannot be kept secret: how long the first token took."""
    began = time.perf_counter()
    stream = await client.chat.completions.create(
        model=MODEL, messages=prompt(illness), stream=True
    )
    await anext(aiter(stream))
    await stream.close()
    return time.perf_counter() - began


def stands_out(signs: dict[str, float]) -> str | None:
    """The one guess that cost less than half of any other, if there is one."""
    best, second = sorted(signs, key=lambda one: signs[one])[:2]
    return best if 2 * signs[best] < signs[second] else None


Sign = Callable[[openai.AsyncOpenAI, str], Any]


async def guess(net: Network, identity: Identity, sign: Sign) -> str | None:
    """Ask with each illness; every prompt is new to the cache but the victim's."""
    async with user(net, identity) as spy:
        await sign(spy, "health")  # connections and the directory cost only the first request
        return stands_out({illness: await sign(spy, illness) for illness in ILLNESSES})


async def victim_asks(net: Network) -> Identity:
    identity = load_identity(state_directory() / "client")
    async with user(net, identity) as client:
        answer = await client.chat.completions.create(model=MODEL, messages=prompt(SECRET))
        assert answer.choices[0].finish_reason == "stop"
        again = await fresh(client, SECRET)
        assert again < 64, "a cache that helps nobody would keep every secret"
    return identity


def engine(sign: Sign, *, shares: bool) -> ScriptedEngine:
    slow = PREFILL_SECONDS if sign is delay else 0.0
    return ScriptedEngine(Scripted(prefill_seconds=slow, shares_cache=shares))


@pytest.mark.parametrize("sign", [fresh, delay])
async def test_12_control_an_engine_without_salts_gives_the_prompt_away(
    tmp_path: Path, sign: Sign
) -> None:
    async with network(tmp_path, workers=1, engine=engine(sign, shares=True)) as net:
        await victim_asks(net)
        assert await guess(net, Identity(os.urandom(32), os.urandom(32)), sign) == SECRET


@pytest.mark.parametrize("sign", [fresh, delay])
async def test_12_a_gateway_that_guesses_prompts_learns_nothing(tmp_path: Path, sign: Sign) -> None:
    """Under a payer of its own, and even with the victim's payer key but not their cache secret."""
    async with network(tmp_path, workers=1, engine=engine(sign, shares=False)) as net:
        victim = await victim_asks(net)
        spies = (
            Identity(os.urandom(32), os.urandom(32)),
            Identity(os.urandom(32), victim.cache_secret),
            Identity(victim.payer_root, os.urandom(32)),
        )
        for spy in spies:
            assert await guess(net, spy, sign) is None


WORDS = ("the", "a", "key", "is", "red", "blue", "seven", "nine", "door", "opens", "with", "code")
SENTENCE = ("the", "blue", "door", "opens", "with", "code", "seven", "nine")


async def extract(played: ScriptedEngine, salt: Callable[[], str]) -> list[str]:
    """Word by word: of all next words the one with the longest known prefix is right."""
    known: list[str] = []
    for _ in SENTENCE:
        signs = {word: await probe(played, [*known, word], salt()) for word in WORDS}
        best = max(signs, key=lambda one: signs[one])
        if signs[best] <= min(signs.values()):
            break
        known.append(best)
    return known


async def probe(played: ScriptedEngine, words: list[str], salt: str) -> int:
    # A word behind the guess: an engine always computes the last token anew.
    content = " ".join([*words, "?"])
    body = {"model": "scripted", "messages": [{"role": "user", "content": content}]}
    request = EngineRequest("/v1/chat/completions", body, "r", salt)
    return (await collect(played, request))[-1].tokens.cached


@pytest.mark.parametrize("shares", [True, False])
async def test_12_whole_sentences_are_extracted_only_where_salts_are_ignored(shares: bool) -> None:
    """The engine's own counts, exact to the token, as a spy inside the engine's pod would see."""
    played = ScriptedEngine(Scripted(shares_cache=shares))
    await probe(played, [*SENTENCE, "."], "victim")
    found = await extract(played, lambda: os.urandom(8).hex())
    assert found == (list(SENTENCE) if shares else [])


async def test_12_signed_counts_of_cached_tokens_are_coarse(tmp_path: Path) -> None:
    """Steps of 64: a user's own receipts do not tell the gateway where two prompts part."""
    async with network(tmp_path, workers=1, engine=engine(fresh, shares=False)) as net:
        answers: list[Any] = []
        client = net.sealed(on_receipt=answers.append)
        for tail in ("x", "y", "line69 line70 z"):
            await client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": f"{FORM} {tail}"}]
            )
        counts = [one.receipt.statement.tokens.cached for one in answers]
        assert counts == [0, 64, 64]
        assert {one.receipt.statement.status for one in answers} == {Status.FINAL}
