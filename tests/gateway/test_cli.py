"""`bombyx db` and `bombyx keys`: what people type before the first request."""

import asyncio
import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from bombyx.cli import output
from bombyx.cli.main import main
from gateway.accounts.repository import Accounts
from gateway.database import create_engine
from gateway.payouts.repository import Payouts
from gateway.payouts.rows import StoredPayout
from tests.bombyx.money.channel.parties import NETWORK
from tests.gateway.metering.samples import execute
from tests.gateway.payouts.samples import begin


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BOMBYX_STATE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and the one JSON document, as from a process of its own."""
    output._stdout.answered = False
    code = main([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_upgrade_makes_the_database_and_may_be_repeated(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "db", "check")[0] == 1
    for _ in range(2):
        assert run(capsys, "db", "upgrade") == (0, {"upgraded": True})
        assert run(capsys, "db", "check") == (0, {"ok": True})
    assert (state / "gateway.db").exists()


def test_check_says_what_differs(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "db", "upgrade")
    with sqlite3.connect(state / "gateway.db") as connection:
        connection.execute("ALTER TABLE account ADD COLUMN surprise TEXT")
    connection.close()
    code, document = run(capsys, "db", "check")
    assert code == 1
    assert document["error"]["code"] == "setup_error"
    assert "surprise" in document["error"]["message"]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nonsense", "the database URL is"),
        ("mysql://host/db", "the database URL is"),
        ("sqlite://", "the database URL is"),
        ("postgresql://[::x/y", "the database URL is"),
        ("postgresql://user:hunter2@127.0.0.1:9/x", "cannot reach the database"),
        ("sqlite:////proc/nope/gateway.db", "cannot make"),
        ("sqlite:///torn.db", "file is not a database"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_sentence(
    state: Path, capsys: pytest.CaptureFixture[str], url: str, says: str
) -> None:
    (state / "torn.db").write_bytes(b"no database at all" * 100)
    code, document = run(capsys, "db", "upgrade", "--database-url", url)
    assert code == 1
    assert document["error"]["code"] == "setup_error"
    assert says in document["error"]["message"]
    assert "hunter2" not in json.dumps(document)


def test_check_of_a_file_that_is_no_database(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (state / "gateway.db").write_bytes(b"no database at all" * 100)
    code, document = run(capsys, "db", "check")
    assert (code, document["error"]["code"]) == (1, "setup_error")


def balance(state: Path, account: str) -> int:
    async def ask() -> int:
        engine = create_engine(f"sqlite:///{state / 'gateway.db'}")
        try:
            return await Accounts(engine).balance(account)
        finally:
            await engine.dispose()

    return asyncio.run(ask())


def test_keys_are_made_with_credit_and_for_an_account(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "db", "upgrade")
    code, made = run(capsys, "keys", "create", "--name", "me", "--credit-nano", "1000")
    assert code == 0
    assert made["api_key"].startswith("bx_live_")
    assert (made["scope"], made["credit_nano"]) == ("inference", "1000")
    assert balance(state, made["account"]) == 1000
    code, admin = run(capsys, "keys", "create", "--account", made["account"], "--scope", "admin")
    assert (code, admin["account"], admin["scope"]) == (0, made["account"], "admin")
    assert admin["api_key"] != made["api_key"]
    assert balance(state, made["account"]) == 1000
    # What is stored cannot be shown again.
    assert made["api_key"].encode() not in (state / "gateway.db").read_bytes()


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (("--scope", "root"), "setup_error"),
        (("--account", "nobody"), "not_found"),
        (("--account", "nobody", "--credit-nano", "5"), "not_found"),
        (("--credit-nano", "-5"), "invalid_request"),
    ],
)
def test_a_key_that_cannot_be_made_is_an_error(
    state: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], code: str
) -> None:
    run(capsys, "db", "upgrade")
    status, document = run(capsys, "keys", "create", *flags)
    assert (status, document["error"]["code"]) == (1, code)


def test_keys_need_a_database(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "keys", "create")[0] == 1
    assert not (state / "gateway.db").exists()


def test_a_key_is_shown_to_people_as_it_is(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["db", "upgrade"]) == 0
    capsys.readouterr()
    assert main(["keys", "create"]) == 0
    assert capsys.readouterr().out.startswith("bx_live_")


def test_a_key_is_listed_without_its_secret_and_can_be_revoked(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "db", "upgrade")
    made = run(capsys, "keys", "create", "--credit-nano", "5")[1]
    code, listed = run(capsys, "keys", "list", "--account", made["account"])
    assert code == 0
    (key,) = listed["keys"]
    assert (key["id"], key["revoked_at"]) == (made["key_id"], None)
    assert made["api_key"] not in str(listed)
    flags = ("keys", "revoke", made["key_id"], "--account", made["account"])
    assert run(capsys, *flags) == (0, {"revoked": made["key_id"]})
    after = run(capsys, "keys", "list", "--account", made["account"])[1]
    assert after["keys"][0]["revoked_at"]
    assert run(capsys, "keys", "revoke", "key_none", "--account", made["account"])[0] == 1


def test_an_audit_tells_even_books_from_others(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "db", "upgrade")
    made = run(capsys, "keys", "create", "--credit-nano", "5")[1]
    assert run(capsys, "db", "audit") == (0, {"even": True})
    database = next(state.rglob("gateway.db"))
    with contextlib.closing(sqlite3.connect(database)) as raw, raw:
        raw.execute("UPDATE account SET posted = posted + 1 WHERE id = ?", (made["account"],))
    code, told = run(capsys, "db", "audit")
    assert code == 1
    assert "balances unlike their entries" in told["error"]["message"]


def test_an_audit_looks_at_payout_channels_too(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "db", "upgrade")
    url = f"sqlite:///{state / 'gateway.db'}"
    stored = asyncio.run(kept_payout(url))
    assert run(capsys, "db", "audit") == (0, {"even": True})
    change = "UPDATE payout_channel SET vouched = 5, deposited = 5 WHERE id = :id"
    asyncio.run(execute(url, change, id=stored.id))
    code, told = run(capsys, "db", "audit")
    assert (code, told["error"]["code"]) == (1, "setup_error")
    assert told["error"]["message"].endswith(": payout channels unlike their entries")


async def kept_payout(url: str) -> StoredPayout:
    engine = create_engine(url)
    try:
        return await begin(Payouts(engine, network=NETWORK), url)
    finally:
        await engine.dispose()


def test_a_key_is_limited_and_the_books_are_proved(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "db", "upgrade")
    _, made = run(capsys, "keys", "create", "--name", "me", "--credit-nano", "1000")
    flags = ("--requests-per-minute", "5", "--monthly-nano", "100", "--model", "m")
    code, limited = run(capsys, "keys", "limit", made["key_id"], *flags)
    assert (code, limited["requests"], limited["nano"], limited["models"]) == (0, 5, 100, ["m"])
    assert run(capsys, "keys", "limit", "key_x")[0] == 1
    code, proved = run(capsys, "ledger", "reconcile")
    assert (code, proved["even"], proved["receipts"]) == (0, True, 0)
    with sqlite3.connect(state / "gateway.db") as connection:
        connection.execute("UPDATE account SET posted = 999 WHERE kind = 'client'")
        changes = connection.execute("SELECT actor, action FROM audit_log ORDER BY id").fetchall()
    connection.close()
    code, proved = run(capsys, "ledger", "reconcile")
    assert (code, proved["differences"]) == (1, 1)
    assert made["account"] in proved["named"][0]
    assert changes == [
        ("cli", action)
        for action in ("account.create", "account.credit", "key.create", "key.limit")
    ]
