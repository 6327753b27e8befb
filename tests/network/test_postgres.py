"""The main stories once more on PostgreSQL, where several processes share the books."""

import asyncio
from pathlib import Path

import pytest

import bombyx
from tests.network.harness import CREDIT, MODEL, network
from tests.network.requests import bearer, body, directory, error_of, http, post, seal


async def test_sealed_and_bare_answers_are_billed_on_postgresql(
    tmp_path: Path, postgres_url: str
) -> None:
    answers: list[bombyx.VerifiedAnswer] = []
    async with network(tmp_path, workers=1, database_url=postgres_url) as net:
        for client in (net.sealed(on_receipt=answers.append), net.bare()):
            answer = await client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "say: one two"}]
            )
            assert (answer.choices[0].message.content or "").strip() == "one two"
        await net.settled()
        store = net.context.store
        async with http() as plain:
            url = f"{net.url}/v1/receipts/{answers[0].receipt.statement.id}"
            found = (await plain.get(url, headers=bearer(net.api_key))).json()
        assert found["disposition"] == "billed"
        assert found["receipt"]["statement"]["c"] == answers[0].receipt.statement.c
        assert await net.balance() < CREDIT
        assert await store.ledger_sum() == 0
        assert await store.billing_gap() == 0
        assert await store.overcommitted() == []


async def test_a_client_that_leaves_is_billed_as_signed_on_postgresql(
    tmp_path: Path, postgres_url: str
) -> None:
    async with network(tmp_path, workers=1, database_url=postgres_url) as net:
        stream = await net.sealed().chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "pace: 20\ncount: 500"}],
            stream=True,
        )
        async for _ in stream:
            break
        await stream.close()
        await net.settled()
        assert 0 < CREDIT - await net.balance() < 500 * 60
        assert await net.context.store.billing_gap() == 0


async def test_the_same_bytes_are_one_request_on_postgresql(
    tmp_path: Path, postgres_url: str
) -> None:
    async with network(tmp_path, workers=2, database_url=postgres_url) as net:
        sealed = seal(net, (await directory(net)).workers, body("say: once"))
        found = await asyncio.gather(*(post(net, sealed.encode()) for _ in range(4)))
        assert len({answer.content for answer in found}) == 1
        await net.settled()
        charged = CREDIT - await net.balance()
        net.context.runs.expire(float("inf"))
        again = await post(net, sealed.encode())
        assert error_of(again) == (409, "outcome")
        assert int(again.json()["receipt"]["statement"]["charge_nano"]) == charged


@pytest.mark.parametrize(
    "path", ["/v1/receipts/%00", "/v1/models/%00", "/v1/receipts/" + "x" * 500]
)
async def test_odd_names_are_404_on_postgresql(
    tmp_path: Path, postgres_url: str, path: str
) -> None:
    async with network(tmp_path, workers=0, database_url=postgres_url) as net, http() as client:
        answer = await client.get(net.url + path, headers=bearer(net.api_key))
        assert error_of(answer)[0] == 404
