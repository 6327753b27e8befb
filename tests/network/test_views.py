"""What can be read at a gateway, and by whom: directory, models, receipts, administration."""

import msgspec
import pytest
from fastapi.routing import APIRoute

from bombyx.attestation.collateral import collateral_digest
from bombyx.attestation.directory import Directory
from bombyx.attestation.verify import verify_worker
from bombyx.money.offer import verify_offer
from bombyx.money.receipt import Receipt, verify_receipt
from gateway.accounts.repository import Accounts
from gateway.app import build_app
from gateway.workers import registry
from tests.network.harness import CREDIT, MODEL, Network
from tests.network.liar import PRICES, liar, unix
from tests.network.requests import bearer, body, directory, error_of, http, post, seal

pytestmark = pytest.mark.asyncio(loop_scope="module")


def verified(net: Network, listed: Directory) -> None:
    """Every entry holds under the client's policy, from nothing but these bytes."""
    for entry in listed.workers:
        named = entry.evidence.collateral
        assert isinstance(named, str)
        collateral = listed.collateral[named]
        assert collateral_digest(collateral) == named
        found = verify_worker(
            entry.keyset, entry.evidence, collateral, policy=net.policy, now=unix()
        )
        assert all(step.result != "fail" for step in found.steps)
        for signed in entry.offers:
            verify_offer(signed, bytes.fromhex(entry.keyset.link_key))
            assert signed.offer.worker == found.worker_id


async def test_the_directory_is_evidence_that_a_client_can_verify(shared: Network) -> None:
    listed = await directory(shared)
    assert len(listed.workers) == 2
    assert len(listed.collateral) >= 1
    assert listed.gateway == shared.context.gateway
    assert (listed.fee_bps, listed.deadline_s) == (500, 1500)
    assert abs(listed.now - unix()) < 5
    verified(shared, listed)


async def test_the_directory_is_empty_for_a_model_that_nobody_serves(shared: Network) -> None:
    assert (await directory(shared, "nobody")).workers == []


@pytest.mark.spec("2.1-e")
async def test_offers_that_end_soon_are_not_shown(
    empty: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with liar(empty):
        assert len((await directory(empty)).workers) == 1
        for seconds in (10**5, -1):  # beyond what the offer binds, beyond what evidence holds
            monkeypatch.setattr(registry, "HONOUR_SECONDS", seconds)
            shown = seconds < 0
            assert bool((await directory(empty)).workers) is shown
            assert bool(empty.context.registry.models(unix())) is shown


async def test_models_have_openais_shape_and_the_cheapest_price(empty: Network) -> None:
    dear = msgspec.structs.replace(PRICES, completion="90000000")
    async with liar(empty), liar(empty, prices=dear):
        models = await empty.bare().models.list()
        (found,) = models.data
        assert (found.id, found.object, found.owned_by) == (MODEL, "model", "bombyx")
        assert found.model_extra is not None
        extra = found.model_extra["bombyx"]
        assert extra["workers"] == 2
        assert extra["prices_nano_per_million"]["completion"] == "60000000"
        one = await empty.bare().models.retrieve(MODEL)
        assert one.id == MODEL
    assert (await empty.bare().models.list()).data == []


@pytest.mark.spec("18-d")
async def test_receipts_are_for_the_account_that_paid(shared: Network) -> None:
    listed = await directory(shared)
    sealed = seal(shared, listed.workers, body("say: mine"))
    answer = await post(shared, sealed.encode())
    await shared.settled()
    accounts = Accounts(shared.context.engine)
    other = await accounts.create("other")
    _, stranger = await accounts.create_key(other.id, name="other")
    paths = (f"/v1/receipts/{answer.headers['x-bombyx-id']}", f"/v1/receipts?c={sealed.c.hex()}")
    async with http() as client:
        for path in paths:
            found = await client.get(shared.url + path, headers=bearer(shared.api_key))
            document = found.json()
            assert (document["state"], document["disposition"]) == ("settled", "billed")
            receipt = msgspec.json.decode(found.content, type=dict[str, msgspec.Raw])["receipt"]
            signed = msgspec.json.decode(receipt, type=Receipt)
            verify_receipt(signed, bytes.fromhex(document["keyset"]["receipt_key"]))
            assert document["charge_nano"] == signed.statement.charge_nano
            refused = await client.get(shared.url + path, headers=bearer(stranger.secret))
            assert error_of(refused) == (404, "not_found")


async def test_every_other_route_but_health_needs_a_key(shared: Network) -> None:
    app = build_app(shared.context)
    collateral = "/v1/confidential/collateral"  # a worker that starts has no key
    public = {"/healthz", "/readyz", "/v1/gateways"}
    public |= {f"{collateral}/{{name}}", f"{collateral}/sha256/{{digest}}"}
    public |= {"/v1/confidential/workers/{worker}/standing"}  # its owner has none either
    async with http() as client:
        for path, methods in app.openapi()["paths"].items():
            for method in methods if not path.startswith("/admin/") else ():
                answer = await client.request(method, shared.url + path)
                assert (answer.status_code == 401) is (path not in public), path
    assert not any(isinstance(route, APIRoute) and route.path == "/docs" for route in app.routes)


async def test_the_ledger_and_the_workers_are_shown_to_administrators(shared: Network) -> None:
    await post(shared, seal(shared, (await directory(shared)).workers, body("say: a")).encode())
    await shared.settled()
    async with http() as client:
        headers = bearer(shared.admin_key)
        ledger = (await client.get(shared.url + "/admin/v1/ledger", headers=headers)).json()
        assert ledger["sum_nano"] == "0"
        assert {entry["kind"] for entry in ledger["entries"]} == {
            "credit",
            "charge",
            "earning",
            "fee",
        }
        amounts = [int(entry["amount_nano"]) for entry in ledger["entries"]]
        assert sum(amounts) == 0
        assert CREDIT in amounts
        limited = await client.get(shared.url + "/admin/v1/ledger?limit=1", headers=headers)
        assert len(limited.json()["entries"]) == 1
        wrong = await client.get(shared.url + "/admin/v1/ledger?limit=0", headers=headers)
        assert error_of(wrong) == (400, "invalid_request")
        workers = (await client.get(shared.url + "/admin/v1/workers", headers=headers)).json()
        assert len(workers["workers"]) == 2
        for worker in workers["workers"]:
            assert worker["platform"] == "simulated"
            assert worker["models"][MODEL]["running"] == 0
            assert {step["result"] for step in worker["steps"]} <= {"pass", "unknown", "skip"}
