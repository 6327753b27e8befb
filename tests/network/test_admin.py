"""`/admin/v1` on a running network: who may ask, and what administrators see and change."""

import asyncio
import base64
import csv
import io
import json
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from fastapi.routing import iter_route_contexts

from bombyx.cli.main import main
from gateway.accounts.repository import Accounts
from gateway.admin.reconcile import reconcile
from gateway.app import build_app
from gateway.database import create_engine
from tests.network.harness import CREDIT, MODEL, Network, network
from tests.network.raw import connected, head, read_answer
from tests.network.requests import bearer, body, directory, error_of, http, post, seal

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


@pytest_asyncio.fixture(loop_scope="function")
async def net(tmp_path: Any) -> AsyncIterator[Network]:
    async with network(tmp_path) as opened:
        yield opened


class Admin:
    """An administrator's client."""

    def __init__(self, net: Network, client: httpx2.AsyncClient) -> None:
        self._net = net
        self._client = client

    async def get(self, path: str, **parameters: Any) -> Any:
        answer = await self.ask("GET", path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, document: Any = None, *, status: int = 200) -> Any:
        answer = await self.ask("POST", path, json=document)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        url = f"{self._net.url}/admin/v1{path}"
        return await self._client.request(
            method, url, headers=bearer(self._net.admin_key), **options
        )

    async def pages(self, path: str, name: str, **parameters: Any) -> list[Any]:
        found: list[Any] = []
        cursor: dict[str, str] = {}
        while True:
            page = await self.get(path, limit=2, **parameters, **cursor)
            assert len(page[name]) <= 2
            found += page[name]
            if page["next_cursor"] is None:
                return found
            cursor = {"cursor": page["next_cursor"]}


@pytest_asyncio.fixture(loop_scope="function")
async def admin(net: Network) -> AsyncIterator[Admin]:
    async with http() as client:
        yield Admin(net, client)


async def ask(net: Network, text: str, tier: str = "sealed") -> None:
    if tier == "bare":
        content = json.dumps(body(f"say: {text}", max_tokens=50)).encode()
        answer = await post(net, content, media="application/json")
    else:
        listed = await directory(net)
        answer = await post(net, seal(net, listed.workers, body(f"say: {text}")).encode())
    assert answer.status_code == 200, answer.text
    await net.settled()


async def refused_keys(net: Network) -> dict[str, tuple[dict[str, str], int, str]]:
    """Whoever is no administrator, and what each is told."""
    accounts = Accounts(net.context.engine)
    _, expired = await accounts.create_key(net.account, name="e", scope="admin", expires_at=1000)
    record, revoked = await accounts.create_key(net.account, name="r", scope="admin")
    # Known to the running gateway, which must not remember it for ever.
    async with http() as client:
        url = f"{net.url}/admin/v1/accounts"
        assert (await client.get(url, headers=bearer(revoked.secret))).status_code == 200
    await accounts.revoke_key(net.account, record.id)
    net.context.key_ring._valid._entries.clear()  # as after five seconds
    closed = await accounts.create("closed")
    _, of_closed = await accounts.create_key(closed.id, name="c", scope="admin")
    await accounts.close(closed.id)
    unknown = (401, "invalid_api_key")
    return {
        "nobody": ({}, *unknown),
        "unknown": (bearer("bx_live_nobody"), *unknown),
        "other scheme": ({"authorization": "Basic abc"}, *unknown),
        "cookie": ({"cookie": f"authorization=Bearer {net.admin_key}"}, *unknown),
        "in the address": ({"x-original-url": "/healthz"}, *unknown),
        "expired": (bearer(expired.secret), *unknown),
        "revoked": (bearer(revoked.secret), *unknown),
        "of a closed account": (bearer(of_closed.secret), *unknown),
        "inference": (bearer(net.api_key), 403, "forbidden"),
        "inference, as Anthropic's": ({"x-api-key": net.api_key}, 403, "forbidden"),
    }


def live_routes(net: Network) -> set[str]:
    """Every path that the app itself knows below `/admin`, documented or not."""
    app = build_app(net.context)
    known = {str(getattr(one, "path", "")) for one in iter_route_contexts(app.routes)}
    paths = known | set(app.openapi()["paths"])
    return {path for path in paths if path.startswith("/admin")}


@pytest.mark.spec("18-a")
async def test_every_admin_route_and_method_refuses_strangers_and_inference_keys(
    net: Network,
) -> None:
    paths, cases = live_routes(net), await refused_keys(net)
    assert len(paths) > 20
    before = await net.context.store.ledger_sum(), await everything(net)
    async with connected(net) as (reader, writer):
        for path in [*sorted(paths), "/admin/v1/nothing", "/admin/"]:
            for method in METHODS:
                for who, (headers, status, code) in cases.items():
                    told = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
                    top = f"{method} {path} HTTP/1.1\r\nhost: x\r\n{told}content-length: 9\r\n\r\n"
                    writer.write(top.encode() + b"{not json")
                    answer = await read_answer(reader, bodiless=method == "HEAD")
                    assert answer.status == status, (method, path, who)
                    if method != "HEAD":
                        assert answer.error["code"] == code, (method, path, who)
    assert (await net.context.store.ledger_sum(), await everything(net)) == before


async def everything(net: Network) -> list[int]:
    """How many rows each table has."""
    connection = sqlite3.connect(net.folder / "gateway.db", timeout=5)
    try:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        counted = [
            connection.execute(f"SELECT count(*) FROM {name}").fetchone() for (name,) in names
        ]
        return [count for (count,) in counted]
    finally:
        connection.close()


@pytest.mark.spec("18-a")
async def test_every_admin_route_lets_an_administrator_pass(net: Network, admin: Admin) -> None:
    """Or the table before would hold for a gateway that refuses everybody."""
    spec = build_app(net.context).openapi()["paths"]
    for path in sorted(live_routes(net)):
        for method in spec.get(path, {}):
            answer = await admin.ask(method.upper(), path.removeprefix("/admin/v1"), content=b"{")
            assert answer.status_code in {200, 400, 404}, (method, path)


@pytest.mark.spec("18-a")
@pytest.mark.parametrize(
    "path",
    [
        "/admin/v1/../v1/accounts",
        "/v1/../admin/v1/accounts",
        "//admin/v1/accounts",
        "/admin//v1/accounts",
        "/admin%2fv1%2faccounts",
        "/%61dmin/v1/accounts",
        "/admin/v1/accounts/",
        "/admin/v1/accounts?x=/healthz",
        "/admin/v1/accounts;x",
        "/ADMIN/V1/ACCOUNTS",
    ],
)
async def test_no_spelling_of_an_admin_path_is_open(net: Network, path: str) -> None:
    async with connected(net) as (reader, writer):
        writer.write(head(net, method="GET", path=path))
        answer = await read_answer(reader)
    assert answer.status in {403, 404}
    assert answer.error["code"] in {"forbidden", "not_found"}


async def test_a_405_names_every_method_of_its_path(admin: Admin) -> None:
    for path, methods in (("/accounts", "GET, POST"), ("/sanctions", "GET, POST")):
        answer = await admin.ask("DELETE", path)
        assert error_of(answer) == (405, "method_not_allowed")
        assert answer.headers["allow"] == methods


async def test_accounts_hold_no_more_than_the_books_can_add(net: Network, admin: Admin) -> None:
    """Sums are 64-bit integers: one that overflowed would be money from nowhere, or an error."""
    made = await admin.post("/accounts", {"name": "rich"}, status=201)
    path, most = f"/accounts/{made['id']}/credit", "9" * 18
    answers = [
        await admin.ask("POST", path, json={"amount_nano": most, "txn": f"rich-{number}"})
        for number in range(12)
    ]
    assert [one.status_code for one in answers] == [200] * 7 + [400] * 5
    assert error_of(answers[-1]) == (400, "invalid_request")
    assert (await admin.get(f"/accounts/{made['id']}"))["posted_nano"] == str(7 * int(most))
    assert (await admin.get("/ledger"))["sum_nano"] == "0"


async def test_where_money_comes_from_is_given_none(admin: Admin) -> None:
    credit = {"amount_nano": "5", "txn": "t"}
    answer = await admin.ask("POST", "/accounts/issuance/credit", json=credit)
    assert error_of(answer) == (400, "invalid_request")


async def test_numbers_in_a_cursor_are_numbers_of_the_database(admin: Admin) -> None:
    for path, parts in (
        ("/ledger", [2**63]),
        ("/ledger", [10**30]),
        ("/audit", [-(2**70)]),
        ("/claims", [2**64, "0" * 64]),
        ("/usage", [10**30, "a", "b", "c", "d"]),
        ("/accounts", ["\0"]),
        ("/keys", ["\ud800"]),
    ):
        cursor = base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")
        answer = await admin.ask("GET", path, params={"cursor": cursor})
        assert error_of(answer) == (400, "invalid_request"), (path, parts)


@pytest.mark.parametrize("day", ["0000-00-00", "0000-01-01", "9999-12-31", "2026-02-30"])
async def test_days_that_are_none_are_400(admin: Admin, day: str) -> None:
    for name in ("from", "to"):
        answer = await admin.ask("GET", "/usage", params={name: day})
        real = day.startswith("9999")
        assert answer.status_code == (200 if real else 400), answer.text
        answer = await admin.ask("GET", "/usage/export", params={name: day})
        assert answer.status_code == (200 if real else 400), answer.text


async def test_every_admin_route_has_a_typed_answer_and_a_summary(net: Network) -> None:
    spec = build_app(net.context).openapi()["paths"]
    for path, methods in spec.items():
        for route in methods.values() if path.startswith("/admin/") else ():
            assert route["description"], path
            success = next(iter(route["responses"].values()))
            untyped = path.endswith(("/export", "/lift"))
            assert untyped or success["content"]["application/json"]["schema"], path


async def test_accounts_are_made_credited_once_and_closed(net: Network, admin: Admin) -> None:
    made = await admin.post("/accounts", {"name": "Acme"}, status=201)
    path = f"/accounts/{made['id']}"
    credit = {"amount_nano": "500", "txn": "invoice-1", "ref": "wire"}
    first = await admin.post(f"{path}/credit", credit)
    again = await admin.post(f"{path}/credit", credit)
    assert (first["booked"], again["booked"]) == (True, False)
    assert again["account"]["posted_nano"] == "500"
    other = await admin.ask("POST", f"{path}/credit", json={**credit, "amount_nano": "501"})
    assert error_of(other) == (409, "idempotency_conflict")
    elsewhere = await admin.ask("POST", f"/accounts/{net.account}/credit", json=credit)
    assert error_of(elsewhere) == (409, "idempotency_conflict")
    key = await admin.post("/keys", {"account": made["id"], "name": "k"}, status=201)
    closed = await admin.post(f"{path}/close")
    assert closed["closed_at"] is not None
    assert (await admin.post(f"{path}/close"))["closed_at"] == closed["closed_at"]
    assert (await admin.get(f"/keys/{key['id']}"))["revoked_at"] is not None
    for refused in (
        await admin.ask("POST", f"{path}/credit", json={**credit, "txn": "invoice-2"}),
        await admin.ask("POST", "/keys", json={"account": made["id"], "name": "k"}),
    ):
        assert error_of(refused) == (400, "invalid_request")
    assert (await admin.post(f"{path}/credit", credit))["booked"] is False
    names = [one["name"] for one in await admin.pages("/accounts", "accounts")]
    assert {"Acme", "tests", "issuance"} <= set(names)


async def test_a_key_shows_its_secret_once_and_takes_limits(net: Network, admin: Admin) -> None:
    limits = {"requests_per_minute": 5, "monthly_budget_nano": "1000", "models": [MODEL]}
    asked = {"account": net.account, "name": "app", "limits": limits}
    made = await admin.post("/keys", asked, status=201)
    secret = made.pop("api_key")
    assert secret.startswith(made["prefix"])
    assert made["limits"] == {**dict.fromkeys(made["limits"]), **limits}
    shown = await admin.get(f"/keys/{made['id']}")
    assert shown == made
    changed = await admin.post(f"/keys/{made['id']}/limits", {"tokens_per_minute": 7})
    assert changed["limits"]["tokens_per_minute"] == 7
    assert changed["limits"]["requests_per_minute"] is None
    listed = await admin.pages("/keys", "keys", account=net.account)
    assert changed in listed
    assert secret not in json.dumps(listed)
    assert (await admin.post(f"/keys/{made['id']}/revoke"))["revoked_at"] is not None
    changes = await admin.pages("/audit", "changes", target=made["id"])
    assert [one["action"] for one in changes] == ["key.revoke", "key.limit", "key.create"]
    assert all(one["actor"].startswith("key_") for one in changes)
    assert secret not in json.dumps(changes)


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/accounts", {}),
        ("/accounts", {"name": ""}),
        ("/accounts", {"name": "x", "unknown": 1}),
        ("/accounts", []),
        ("/keys", {"account": "nobody", "name": "k", "scope": "root"}),
        ("/keys", {"account": "nobody", "name": "k", "limits": {"requests_per_minute": -1}}),
        ("/accounts/x/credit", {"amount_nano": "01", "txn": "t"}),
        ("/accounts/x/credit", {"amount_nano": 5, "txn": "t"}),
        ("/sanctions", {"subject": "worker", "id": "nothex", "action": "block"}),
    ],
)
async def test_wrong_bodies_are_400_in_the_envelope(admin: Admin, path: str, document: Any) -> None:
    answer = await admin.ask("POST", path, json=document)
    assert error_of(answer) == (400, "invalid_request")


async def test_what_is_not_there_is_404(admin: Admin) -> None:
    for method, path, document in (
        ("GET", "/accounts/nobody", None),
        ("POST", "/accounts/nobody/close", None),
        ("POST", "/accounts/nobody/credit", {"amount_nano": "5", "txn": "t"}),
        ("POST", "/keys", {"account": "nobody", "name": "k"}),
        ("GET", "/keys/key_x", None),
        ("POST", "/keys/key_x/revoke", None),
        ("POST", "/keys/key_x/limits", {}),
        ("GET", "/workers/00", None),
        ("GET", "/workers/00/evidence", None),
        ("GET", "/claims/zz", None),
        ("GET", "/claims/" + "00" * 32, None),
        ("POST", "/sanctions/lift", {"subject": "worker", "id": "00"}),
        ("GET", "/nothing", None),
    ):
        answer = await admin.ask(method, path, json=document)
        assert error_of(answer) == (404, "not_found"), path


async def test_a_wrong_cursor_is_400_and_a_large_body_413(admin: Admin) -> None:
    for path in ("/accounts", "/claims", "/ledger", "/usage", "/audit", "/sanctions"):
        for cursor in ("!", "AAAA", "WyJ4IiwyLDNd"):
            answer = await admin.ask("GET", path, params={"cursor": cursor})
            if path != "/accounts" or cursor != "WyJ4IiwyLDNd":
                assert error_of(answer) == (400, "invalid_request"), (path, cursor)
    large = await admin.ask("POST", "/accounts", json={"name": "x" * 2**20})
    assert error_of(large) == (413, "request_too_large")


async def test_claims_receipts_ledger_and_usage_tell_the_same(net: Network, admin: Admin) -> None:
    for number in range(3):
        await ask(net, f"a{number}")
    await ask(net, "b", "bare")
    claims = await admin.pages("/claims", "claims", account=net.account)
    assert [one["tier"] for one in claims] == ["bare", "sealed", "sealed", "sealed"]
    assert {one["state"] for one in claims} == {"settled"}
    assert await admin.pages("/claims", "claims", state="open") == []
    charges = {one["c"]: one["charge_nano"] for one in claims}
    receipts = await admin.pages("/receipts", "receipts")
    assert {one["c"]: one["charge_nano"] for one in receipts} == charges
    assert await admin.pages("/receipts", "receipts", disposition="invalid") == []
    entries = await admin.pages("/ledger", "entries", kind="charge")
    assert {one["txn"]: str(-int(one["amount_nano"])) for one in entries} == charges
    one = await admin.get(f"/claims/{claims[0]['c']}")
    assert one == claims[0]
    (full,) = await admin.get(f"/claims/{one['c']}/receipts")
    assert full["receipt"]["statement"]["charge_nano"] == one["charge_nano"]
    usage = await admin.pages("/usage", "usage", account=net.account)
    total = sum(int(charge) for charge in charges.values())
    assert sum(int(row["charge_nano"]) for row in usage) == total
    assert sum(row["requests"] for row in usage) == 4
    assert {row["tier"] for row in usage} == {"sealed", "bare"}
    assert all(row["model"] == MODEL and row["completion_tokens"] > 0 for row in usage)
    assert all(row["key"].startswith("key_") for row in usage)
    assert await admin.pages("/usage", "usage", to="2001-01-01") == []


async def test_usage_is_exported_as_csv_and_json(net: Network, admin: Admin) -> None:
    await ask(net, "a")
    usage = await admin.pages("/usage", "usage")
    answer = await admin.ask("GET", "/usage/export")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["charge_nano"] for row in rows] == [row["charge_nano"] for row in usage]
    assert await admin.get("/usage/export", format="json") == usage
    wrong = await admin.ask("GET", "/usage/export", params={"from": "2026-13-01"})
    assert error_of(wrong) == (400, "invalid_request")


async def test_workers_show_their_evidence_and_offers(net: Network, admin: Admin) -> None:
    await net.bare().chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "say: seen"}]
    )
    workers = await admin.pages("/workers", "workers")
    assert len(workers) == 2
    one = workers[0]
    assert await admin.get(f"/workers/{one['worker']}") == one
    reputation = one["reputation"]
    assert reputation["breaker"] == "closed"
    assert reputation["answered"] + workers[1]["reputation"]["answered"] > 0
    assert 0 < reputation["success"] <= 1
    assert reputation["answer_s"] > 0
    shown = await admin.get(f"/workers/{one['worker']}/evidence")
    assert shown["keyset"]["payout"] == one["payout"]
    assert shown["evidence"]["platform"] == "simulated"
    offers = await admin.pages("/offers", "offers", model=MODEL)
    assert {offer["worker"] for offer in offers} == {each["worker"] for each in workers}
    assert all(offer["live"] for offer in offers)
    assert await admin.pages("/offers", "offers", model="nobody") == []


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_drained_worker_keeps_its_link_and_gets_nothing_new(
    net: Network, admin: Admin
) -> None:
    drained, other = (running.worker for running in net.workers)
    named = net.context.registry.all()[0].worker
    sanction = {"subject": "worker", "id": named, "action": "drain", "reason": "maintenance"}
    assert (await admin.post("/sanctions", sanction, status=201))["reason"] == "maintenance"
    assert (await admin.get(f"/workers/{named}"))["draining"]
    listed = await directory(net)
    assert len(listed.workers) == 1
    await ask(net, "still served", "bare")
    await admin.post("/sanctions/lift", {"subject": "worker", "id": named}, status=204)
    assert len((await directory(net)).workers) == 2
    assert await admin.get("/sanctions") == {"sanctions": [], "next_cursor": None}
    assert drained is not other


async def test_a_blocked_machine_loses_its_link_and_is_refused_when_it_dials_again(
    net: Network, admin: Admin
) -> None:
    (victim, *_) = net.context.registry.all()
    block = {"subject": "platform", "id": victim.verified.platform_id, "action": "block"}
    await admin.post("/sanctions", block, status=201)
    gone = [
        one
        for one in net.context.registry.all()
        if one.verified.platform_id == victim.verified.platform_id
    ]
    await until(lambda: not set(gone) & set(net.context.registry.all()))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await until(lambda: victim.worker in {w.worker for w in net.context.registry.all()})
    found = await admin.pages("/audit", "changes", target=victim.verified.platform_id)
    assert [one["action"] for one in found] == ["platform.block"]


async def test_reconciling_proves_the_books_and_finds_what_was_changed(
    net: Network, admin: Admin
) -> None:
    await ask(net, "a")
    await ask(net, "b", "bare")
    found = await reconcile(net.context.engine)
    assert (found.even, found.receipts, found.entries) == (True, 2, 2)
    assert found.charged_nano == CREDIT - await net.balance()
    changed: list[tuple[str, str]] = [
        ("UPDATE receipt SET charge_nano = charge_nano + 1", "charge"),
        ("UPDATE receipt SET document = replace(document, '1', '2')", "receipt of"),
        ("DELETE FROM keyset", "keyset"),
        ("DELETE FROM receipt", "no billed receipt"),
        ("UPDATE account SET posted = posted + 1 WHERE kind = 'client'", "balance"),
        ("UPDATE usage_day SET charge_nano = charge_nano + 1", "usage"),
    ]
    for statement, says in changed:
        copy = net.folder / "changed.db"
        copy.unlink(missing_ok=True)
        source = sqlite3.connect(net.folder / "gateway.db")
        target = sqlite3.connect(copy)
        source.backup(target)
        target.execute(statement)
        target.commit()
        target.close()
        source.close()
        arguments = ["ledger", "reconcile", "--database-url", f"sqlite:///{copy}"]
        assert await asyncio.to_thread(main, arguments) == 1, statement
        engine = create_engine(f"sqlite:///{copy}")
        differs = await reconcile(engine)
        await engine.dispose()
        assert any(says in one for one in differs.differences), (statement, differs)
