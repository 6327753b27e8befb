"""What is remembered of keys, and for how long."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from bombyx.errors import Forbidden, Unauthenticated
from gateway import database
from gateway.accounts import key_ring
from gateway.accounts.key_ring import KeyRing, PayerBook
from gateway.accounts.keys import NewKey, make_key
from gateway.accounts.repository import Accounts
from gateway.metering.port import Store
from gateway.metering.stores import open_store
from tests.gateway.metering.clocks import HandClock


@pytest.fixture
async def accounts(sqlite_url: str) -> AsyncIterator[Accounts]:
    engine = database.create_engine(sqlite_url)
    yield Accounts(engine)
    await engine.dispose()


@pytest.fixture
async def store(sqlite_url: str) -> AsyncIterator[Store]:
    opened = await open_store(sqlite_url)
    yield opened
    await opened.close()


async def _key(accounts: Accounts) -> tuple[str, str, NewKey]:
    alice = await accounts.create("Alice")
    record, key = await accounts.create_key(alice.id, name="k")
    return alice.id, record.id, key


async def test_a_revoked_key_stops_working_within_five_seconds(
    accounts: Accounts, store: Store
) -> None:
    clock = HandClock()
    ring = KeyRing(store, clock=clock)
    alice, record, key = await _key(accounts)
    assert (await ring.authenticate(key.secret)).account == alice
    await accounts.revoke_key(alice, record)
    clock.seconds += 4.9
    assert (await ring.authenticate(key.secret)).account == alice
    clock.seconds += 0.2
    with pytest.raises(Unauthenticated):
        await ring.authenticate(key.secret)


@pytest.mark.parametrize("secret", ["", "sk-123", "bx_live_" + "x" * 300, "bx_live_é"])
async def test_what_is_no_key_is_refused(store: Store, secret: str) -> None:
    with pytest.raises(Unauthenticated):
        await KeyRing(store, clock=HandClock()).authenticate(secret)


async def test_an_unknown_key_is_asked_for_again_after_a_second(
    accounts: Accounts, store: Store
) -> None:
    clock = HandClock()
    ring = KeyRing(store, clock=clock)
    key = make_key(bytes(32))
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            await ring.authenticate(key.secret)
    clock.seconds += 1.0
    with pytest.raises(Unauthenticated):
        await ring.authenticate(key.secret)


async def test_many_at_once_share_one_query(accounts: Accounts, store: Store) -> None:
    ring = KeyRing(store, clock=HandClock())
    _, _, key = await _key(accounts)
    waiting = [asyncio.create_task(ring.authenticate(key.secret)) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert len({repr(answer) for answer in answers[1:]}) == 1


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_ring, "MAX_ENTRIES", 3)
    table: key_ring.Remembered[int] = key_ring.Remembered(seconds=1.0, clock=HandClock())
    for number in range(5):
        table.put(bytes([number]), number, asked_at=1_000.0)
    assert len(table) == 3
    assert table.get(b"\x00") is None
    assert table.get(b"\x04") == 4


async def test_another_accounts_payer_key_is_refused(accounts: Accounts, store: Store) -> None:
    alice, bob = await accounts.create("Alice"), await accounts.create("Bob")
    book = PayerBook(store)
    await book.check("payer", alice.id)
    await book.check("payer", alice.id)
    with pytest.raises(Forbidden):
        await book.check("payer", bob.id)
    with pytest.raises(Forbidden):
        await PayerBook(store).check("payer", bob.id)


def test_a_key_needs_all_its_entropy() -> None:
    with pytest.raises(ValueError, match="32"):
        make_key(b"short")
