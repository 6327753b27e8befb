"""Accounts, credit and keys on both databases."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from bombyx.errors import NotFound, RequestError
from bombyx.units import MAX_NANO
from gateway import database
from gateway.accounts.repository import Accounts
from gateway.metering.stores import open_store


@pytest.fixture
async def accounts(database_url: str) -> AsyncIterator[Accounts]:
    engine = database.create_engine(database_url)
    yield Accounts(engine)
    await engine.dispose()


async def test_credit_comes_from_issuance_and_is_booked_on_both_sides(
    accounts: Accounts, database_url: str
) -> None:
    alice = await accounts.create("Alice")
    assert (alice.kind, alice.name, alice.posted) == ("client", "Alice", 0)
    assert await accounts.credit(alice.id, 500, txn="t1", ref="gift")
    assert await accounts.balance(alice.id) == 500
    assert await accounts.balance("issuance") == -500
    (entry,) = await accounts.ledger(alice.id)
    assert (entry.amount_nano, entry.kind, entry.ref) == (500, "credit", "gift")
    store = await open_store(database_url)
    assert (await store.ledger_sum(), await store.unposted()) == (0, [])
    await store.close()


async def test_the_same_credit_is_booked_once(accounts: Accounts) -> None:
    alice = await accounts.create("Alice")
    assert await accounts.credit(alice.id, 500, txn="t1")
    assert not await accounts.credit(alice.id, 500, txn="t1")
    assert await accounts.balance(alice.id) == 500


async def test_parallel_credits_all_count(accounts: Accounts) -> None:
    alice = await accounts.create("Alice")
    await asyncio.gather(*(accounts.credit(alice.id, 1, txn=f"t{n}") for n in range(5)))
    assert await accounts.balance(alice.id) == 5


@pytest.mark.parametrize("amount", [0, -1, MAX_NANO + 1, 1.0, True, "5"])
async def test_only_positive_integers_are_credited(accounts: Accounts, amount: int) -> None:
    alice = await accounts.create("Alice")
    with pytest.raises(RequestError):
        await accounts.credit(alice.id, amount, txn="t")


async def test_unknown_accounts_and_keys_are_not_found(accounts: Accounts) -> None:
    with pytest.raises(NotFound):
        await accounts.credit("nobody", 1, txn="t")
    with pytest.raises(NotFound):
        await accounts.create_key("nobody", name="k")
    with pytest.raises(NotFound):
        await accounts.revoke_key("nobody", "key")


async def test_the_ledger_is_paged_latest_first(accounts: Accounts) -> None:
    alice = await accounts.create("Alice")
    for number in range(3):
        await accounts.credit(alice.id, number + 1, txn=f"t{number}")
    first = await accounts.ledger(alice.id, limit=2)
    rest = await accounts.ledger(alice.id, before=first[-1].id)
    assert [entry.amount_nano for entry in [*first, *rest]] == [3, 2, 1]


async def test_accounts_are_paged_by_id(accounts: Accounts) -> None:
    ids = sorted([(await accounts.create(name)).id for name in "abc"])
    first = await accounts.list(limit=2)
    rest = await accounts.list(after=first[-1].id)
    assert [one.id for one in [*first, *rest]] == ids


async def test_a_key_is_found_by_its_digest_until_revoked(
    accounts: Accounts, database_url: str
) -> None:
    alice = await accounts.create("Alice")
    record, key = await accounts.create_key(alice.id, name="laptop", scope="admin")
    assert key.secret.startswith(record.prefix)
    assert key.secret not in repr(key)
    store = await open_store(database_url)
    found = await store.find_key(key.digest)
    assert found is not None
    assert (found.account, found.scope) == (alice.id, "admin")
    await accounts.revoke_key(alice.id, record.id)
    await accounts.revoke_key(alice.id, record.id)
    assert await store.find_key(key.digest) is None
    (listed,) = await accounts.keys(alice.id)
    assert listed.revoked_at is not None
    await store.close()


async def test_an_expired_key_is_unknown(accounts: Accounts, database_url: str) -> None:
    alice = await accounts.create("Alice")
    _, key = await accounts.create_key(alice.id, name="old", expires_at=1)
    store = await open_store(database_url)
    assert await store.find_key(key.digest) is None
    await store.close()


async def test_a_key_of_another_account_cannot_be_revoked(accounts: Accounts) -> None:
    alice, bob = await accounts.create("Alice"), await accounts.create("Bob")
    record, _ = await accounts.create_key(alice.id, name="k")
    with pytest.raises(NotFound):
        await accounts.revoke_key(bob.id, record.id)
