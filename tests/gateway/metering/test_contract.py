"""What every `Store` must do (SPEC 5, 6), on SQLite and on PostgreSQL."""

import asyncio

import pytest
from msgspec.structs import replace

from gateway.metering.port import ORPHAN_SLOT, Store
from gateway.metering.rows import (
    Attempt,
    Claimed,
    Conflict,
    Disposition,
    Expired,
    Fenced,
    Granted,
    Outcome,
    RestoredClaim,
    RetryKey,
    Shortage,
    VerdictRow,
)
from gateway.metering.settlement import OVER_RESERVE
from tests.gateway.metering.samples import (
    age,
    execute,
    fund,
    new_claim,
    nothing,
    posted,
    settlement,
    sha,
    statement,
)


async def _leased(store: Store, slot: int = 1, need: int = 400) -> int:
    epoch = await store.open_process(slot, f"wss://gw{slot}")
    granted = await store.grant("alice", slot, epoch=epoch, need=need, processes=1)
    assert isinstance(granted, Granted)
    return epoch


class TestProcesses:
    @pytest.mark.spec("5.5-a")
    async def test_a_new_epoch_fences_the_older(self, store: Store) -> None:
        first = await store.open_process(1, "wss://a")
        second = await store.open_process(1, "wss://b")
        assert second > first
        assert not await store.renew_process(1, first)
        assert await store.renew_process(1, second)
        assert [p.link_url for p in await store.processes()] == ["wss://b"]

    async def test_an_expired_process_cannot_renew(self, store: Store, database_url: str) -> None:
        epoch = await store.open_process(1, "wss://a")
        await age(database_url, 15_001)
        assert not await store.renew_process(1, epoch)
        assert await store.processes() == []
        assert await store.open_process(1, "wss://a") > epoch

    async def test_draining_is_shown_until_the_next_epoch(self, store: Store) -> None:
        epoch = await store.open_process(1, "wss://a")
        await store.drain_process(1, epoch)
        assert [p.draining for p in await store.processes()] == [True]
        await store.open_process(1, "wss://a")
        assert [p.draining for p in await store.processes()] == [False]

    async def test_closing_gives_leases_back_and_keeps_open_claims(self, store: Store) -> None:
        epoch = await _leased(store, need=1_000)
        await store.claim(1, epoch, [new_claim(1)])
        await store.close_process(1, epoch)
        other = await store.open_process(2, "wss://b")
        answer = await store.grant("alice", 2, epoch=other, need=901, processes=1)
        assert answer == Shortage(900)
        assert await store.grant("alice", 2, epoch=other, need=900, processes=1) == Granted(900)

    async def test_closing_with_an_old_epoch_changes_nothing(self, store: Store) -> None:
        old = await store.open_process(1, "wss://a")
        epoch = await _leased(store)
        await store.close_process(1, old)
        assert await store.renew_process(1, epoch)


class TestReaper:
    async def test_leases_are_taken_five_seconds_after_expiry(
        self, store: Store, database_url: str
    ) -> None:
        await _leased(store)
        await age(database_url, 19_000)
        assert await store.reap() == 0
        await age(database_url, 1_100)
        assert await store.reap() == 1
        assert await store.reap() == 0

    @pytest.mark.spec("5.6-a")
    async def test_reserves_of_orphans_stay_taken_until_settled(
        self, store: Store, database_url: str
    ) -> None:
        epoch = await _leased(store, need=1_000)
        await store.claim(1, epoch, [new_claim(1, reserve=300)])
        await age(database_url, 21_000)
        await store.reap()
        other = await store.open_process(2, "wss://b")
        short = await store.grant("alice", 2, epoch=other, need=1_000, processes=1)
        assert short == Shortage(700)
        (outcome,) = await store.settle([settlement(1)])
        assert outcome.charge == 55
        assert await store.grant("alice", 2, epoch=other, need=945, processes=1) == Granted(945)


class TestLeases:
    @pytest.mark.parametrize(
        ("need", "processes", "granted"), [(1, 1, 16), (100, 1, 500), (100, 2, 250), (900, 2, 900)]
    )
    async def test_the_size_of_a_grant(
        self, store: Store, need: int, processes: int, granted: int
    ) -> None:
        epoch = await store.open_process(1, "wss://a")
        answer = await store.grant("alice", 1, epoch=epoch, need=need, processes=processes)
        assert answer == Granted(granted)

    async def test_a_shortage_recalls_from_the_others(self, store: Store) -> None:
        first = await _leased(store, slot=1, need=800)
        second = await store.open_process(2, "wss://b")
        assert await store.recalls(1, first) == []
        short = await store.grant("alice", 2, epoch=second, need=300, processes=2)
        assert short == Shortage(200, elsewhere=800)
        assert await store.recalls(1, first) == ["alice"]
        await store.give_back("alice", 1, epoch=first, amount=500)
        again = await store.grant("alice", 2, epoch=second, need=300, processes=2)
        assert again == Granted(300)
        assert await store.recalls(1, first) == []

    async def test_a_fenced_process_gets_nothing(self, store: Store) -> None:
        epoch = await store.open_process(1, "wss://a")
        await store.open_process(1, "wss://a")
        assert await store.grant("alice", 1, epoch=epoch, need=1, processes=1) == Fenced()

    async def test_giving_back_in_an_old_epoch_changes_nothing(self, store: Store) -> None:
        epoch = await _leased(store, need=1_000)
        await store.give_back("alice", 1, epoch=epoch - 1, amount=1_000)
        answer = await store.grant("alice", 1, epoch=epoch, need=1, processes=1)
        assert answer == Shortage(0)

    async def test_an_unknown_account_has_nothing(self, store: Store) -> None:
        epoch = await store.open_process(1, "wss://a")
        assert await store.grant("eve", 1, epoch=epoch, need=1, processes=1) == Shortage(0)


class TestClaims:
    async def test_claims_are_stored_with_their_first_attempt(self, store: Store) -> None:
        epoch = await _leased(store)
        rows = [new_claim(n) for n in range(3)]
        assert await store.claim(1, epoch, rows) == [Claimed(row.c) for row in rows]
        stored = await store.find_claims([rows[0].c, sha("none")])
        claim = stored[rows[0].c]
        assert set(stored) == {rows[0].c}
        assert (claim.h, claim.reserve, claim.slot, claim.epoch) == (rows[0].h, 100, 1, epoch)
        assert (claim.settled, claim.attempts, claim.winner) == (False, 1, "w1")
        assert await store.attempts(rows[0].c) == [Attempt(rows[0].c, 1, "w1", "t1", "o")]
        assert len(await store.open_claims(1, epoch)) == 3
        assert await store.claims_by_id("alice", rows[1].id) == [
            (await store.find_claims([rows[1].c]))[rows[1].c]
        ]

    async def test_a_commitment_is_claimed_once(self, store: Store) -> None:
        epoch = await _leased(store)
        await store.claim(1, epoch, [new_claim(1)])
        answers = await store.claim(1, epoch, [new_claim(2), new_claim(1), new_claim(3)])
        assert [type(answer) for answer in answers] == [Claimed, Conflict, Claimed]
        assert isinstance(answers[1], Conflict)
        assert answers[1].stored.c == sha("c", 1)

    async def test_a_commitment_twice_in_a_batch_is_claimed_once(self, store: Store) -> None:
        epoch = await _leased(store)
        answers = await store.claim(1, epoch, [new_claim(1), new_claim(1, reserve=7)])
        assert [type(answer) for answer in answers] == [Claimed, Conflict]
        assert len(await store.attempts(sha("c", 1))) == 1

    @pytest.mark.spec("5.5-a")
    async def test_a_fenced_process_claims_nothing(self, store: Store, database_url: str) -> None:
        epoch = await _leased(store)
        await store.claim(1, epoch, [new_claim(1)])
        await age(database_url, 15_001)
        answers = await store.claim(1, epoch, [new_claim(1), new_claim(2)])
        assert [type(answer) for answer in answers] == [Conflict, Fenced]
        newer = await store.open_process(1, "wss://a")
        assert await store.claim(1, epoch, [new_claim(2)]) == [Fenced()]
        assert await store.claim(1, newer, [new_claim(2, reserve=0)]) == [Claimed(sha("c", 2))]

    async def test_a_retarget_moves_the_winner_forward_only(self, store: Store) -> None:
        epoch = await _leased(store)
        row = new_claim(1)
        await store.claim(1, epoch, [row])
        second, third = (Attempt(row.c, n, f"w{n}", f"t{n}", "o") for n in (2, 3))
        assert await store.retarget([third, second]) == [True, True]
        stored = (await store.find_claims([row.c]))[row.c]
        assert (stored.attempts, stored.winner) == (3, "w3")
        assert [attempt.number for attempt in await store.attempts(row.c)] == [1, 2, 3]

    async def test_a_settled_claim_is_not_retargeted(self, store: Store) -> None:
        epoch = await _leased(store)
        await store.claim(1, epoch, [new_claim(1)])
        await store.settle([nothing(1)])
        again = Attempt(sha("c", 1), 2, "w2", "t2", "o")
        assert await store.retarget([again, replace(again, c=sha("none"))]) == [False, False]


class TestSettlement:
    @pytest.mark.spec("5.4-b")
    async def test_a_charge_is_booked_on_all_sides(self, store: Store, database_url: str) -> None:
        epoch = await _leased(store)
        await store.claim(1, epoch, [new_claim(1)])
        outcomes = await store.settle([settlement(1, 50, 5)])
        assert outcomes == [Outcome(sha("c", 1), Disposition.BILLED, None, 55)]
        assert await posted(database_url, "alice") == 945
        assert await posted(database_url, "worker:bob") == 50
        assert await posted(database_url, "gateway:fees") == 5
        assert await execute(database_url, "SELECT granted FROM lease") == [(500 - 55,)]
        (receipt,) = await store.receipts_of(sha("c", 1))
        assert (receipt.disposition, receipt.charge) == (Disposition.BILLED, 55)
        stored = (await store.find_claims([sha("c", 1)]))[sha("c", 1)]
        assert (stored.settled, stored.charge) == (True, 55)

    @pytest.mark.spec("5.4-a")
    async def test_settling_again_answers_the_same_and_books_nothing(
        self, store: Store, database_url: str
    ) -> None:
        epoch = await _leased(store)
        await store.claim(1, epoch, [new_claim(1)])
        first = await store.settle([settlement(1), settlement(1)])
        assert first[0] == first[1]
        assert await store.settle([settlement(1)]) == [first[0]]
        assert await posted(database_url, "alice") == 945

    async def test_a_statement_after_another_is_superseded(self, store: Store) -> None:
        epoch = await _leased(store)
        await store.claim(1, epoch, [new_claim(1)])
        outcomes = await store.settle([settlement(1), settlement(1, 60, 6, seq=1)])
        assert outcomes[1] == Outcome(sha("c", 1), Disposition.SUPERSEDED, None, 55)
        assert [r.charge for r in await store.receipts_of(sha("c", 1))].count(0) == 1

    async def test_a_statement_after_the_deadline_of_a_settled_claim_is_expired(
        self, store: Store, database_url: str
    ) -> None:
        epoch = await _leased(store)
        now = await store.now_ms()
        await store.claim(1, epoch, [new_claim(1, deadline=now + 10_000)])
        assert await store.settle([nothing(1)]) == [Outcome(sha("c", 1), None, None, 0)]
        await age(database_url, 10_001)
        (late,) = await store.settle([settlement(1)])
        assert (late.disposition, late.charge) == (Disposition.EXPIRED, 0)
        assert await store.settle([settlement(1)]) == [late]

    async def test_more_than_the_reserve_is_never_charged(self, store: Store) -> None:
        epoch = await _leased(store)
        await store.claim(1, epoch, [new_claim(1, reserve=54)])
        outcomes = await store.settle([settlement(1)])
        assert outcomes == [Outcome(sha("c", 1), Disposition.INVALID, OVER_RESERVE, None)]
        assert not (await store.find_claims([sha("c", 1)]))[sha("c", 1)].settled

    async def test_an_unknown_claim_is_said_to_be_unknown(self, store: Store) -> None:
        (outcome,) = await store.settle([settlement(9)])
        assert outcome.unknown
        assert await store.receipts_of(sha("c", 9)) == []

    async def test_a_free_request_books_nothing(self, store: Store) -> None:
        epoch = await store.open_process(1, "wss://a")
        await store.claim(1, epoch, [new_claim(1, reserve=0)])
        outcomes = await store.settle([settlement(1, 0, 0)])
        assert outcomes == [Outcome(sha("c", 1), Disposition.BILLED, None, 0)]

    @pytest.mark.spec("6.8-a")
    async def test_the_first_verdict_stays(self, store: Store) -> None:
        epoch = await _leased(store)
        await store.claim(1, epoch, [new_claim(1)])
        first = VerdictRow(sha("c", 1), statement(1), Disposition.INVALID, "arithmetic")
        second = VerdictRow(sha("c", 1), statement(1), Disposition.SUPERSEDED)
        outcomes = await store.record([first, second])
        expected = Outcome(sha("c", 1), Disposition.INVALID, "arithmetic", None)
        assert outcomes == [expected, expected]
        assert await store.settle([settlement(1)]) == [expected]
        assert await store.record([second]) == [expected]

    async def test_a_verdict_on_an_unknown_claim_is_stored(self, store: Store) -> None:
        row = VerdictRow(sha("c", 9), statement(9), Disposition.INVALID, "ticket")
        assert await store.record([row]) == [
            Outcome(sha("c", 9), Disposition.INVALID, "ticket", None)
        ]


class TestRestore:
    async def test_a_lost_claim_is_rebuilt_and_settled(self, store: Store) -> None:
        row = RestoredClaim(new_claim(1), attempts=2, owner=None)
        assert await store.restore([row]) == [Claimed(sha("c", 1))]
        stored = (await store.find_claims([sha("c", 1)]))[sha("c", 1)]
        assert (stored.slot, stored.attempts) == (ORPHAN_SLOT, 2)
        assert [type(a) for a in await store.restore([row])] == [Conflict]
        assert (await store.settle([settlement(1)]))[0].charge == 55

    async def test_it_stays_with_the_lease_that_covers_it(self, store: Store) -> None:
        epoch = await _leased(store, need=1_000)
        row = RestoredClaim(new_claim(1), attempts=1, owner=(1, epoch))
        assert await store.restore([row]) == [Claimed(sha("c", 1))]
        assert len(await store.open_claims(1, epoch)) == 1

    async def test_without_cover_it_waits_and_recalls(self, store: Store) -> None:
        epoch = await _leased(store, need=1_000)
        row = RestoredClaim(new_claim(1), attempts=1, owner=None)
        assert await store.restore([row]) == [Shortage(0, elsewhere=1_000)]
        assert await store.recalls(1, epoch) == ["alice"]

    async def test_a_lease_covers_each_nano_once(self, store: Store) -> None:
        epoch = await _leased(store, need=1_000)
        await store.claim(1, epoch, [new_claim(1, reserve=950)])
        row = RestoredClaim(new_claim(2), attempts=1, owner=(1, epoch))
        assert [type(a) for a in await store.restore([row])] == [Shortage]

    async def test_after_its_deadline_nothing_is_restored(self, store: Store) -> None:
        row = RestoredClaim(new_claim(1, deadline=1), attempts=1, owner=None)
        assert await store.restore([row]) == [Expired()]

    async def test_an_unknown_account_restores_nothing(self, store: Store) -> None:
        row = RestoredClaim(new_claim(1, account="eve", reserve=0), attempts=1, owner=None)
        assert await store.restore([row]) == [Shortage(0)]


class TestDeadlines:
    async def test_overdue_claims_are_found_by_who_must_settle_them(
        self, store: Store, database_url: str
    ) -> None:
        epoch = await _leased(store)
        now = await store.now_ms()
        await store.claim(1, epoch, [new_claim(1, deadline=now + 60_000), new_claim(2)])
        other = await store.open_process(2, "wss://b")

        async def due(slot: int, epoch: int) -> int:
            return len(await store.overdue(slot, epoch, grace_ms=60_000))

        assert await due(1, epoch) == 0
        await execute(database_url, "UPDATE claim SET deadline = deadline - 61000")
        assert (await due(1, epoch), await due(2, other)) == (1, 0)
        await execute(database_url, "UPDATE claim SET deadline = deadline - 61000")
        assert await due(2, other) == 1
        assert len(await store.unsettled_before(now, 10)) == 1

    async def test_orphans_are_anybodys(self, store: Store, database_url: str) -> None:
        epoch = await _leased(store)
        await store.claim(1, epoch, [new_claim(1, deadline=1)])
        other = await store.open_process(2, "wss://b")
        assert await store.overdue(2, other, grace_ms=2**50) == []
        await store.close_process(1, epoch)
        assert len(await store.overdue(2, other, grace_ms=2**50)) == 1


class TestCredentials:
    async def test_a_payer_key_belongs_to_its_first_account(
        self, store: Store, database_url: str
    ) -> None:
        await fund(database_url, "carol", 0)
        assert await store.bind_payer("k", "alice") == "alice"
        assert await store.bind_payer("k", "carol") == "alice"

    async def test_a_retry_key_stands_for_its_first_request(self, store: Store) -> None:
        first = RetryKey("alice", "key", sha(1), sha("c", 1))
        assert await store.bind_retry(first) == first
        second = replace(first, c=sha("c", 2))
        assert await store.bind_retry(replace(second, body_digest=sha(2))) == first
        assert not await store.rebind_retry(second, instead_of=sha("c", 3))
        assert await store.rebind_retry(second, instead_of=first.c)
        assert await store.bind_retry(first) == second

    async def test_unknown_keys_are_none(self, store: Store) -> None:
        assert await store.find_key(sha("none")) is None


async def test_parallel_batches_over_few_accounts_neither_deadlock_nor_lose(
    store: Store, database_url: str
) -> None:
    for account in "abcd":
        await fund(database_url, account, 100_000)
    epochs = {slot: await store.open_process(slot, "wss://x") for slot in (1, 2, 3)}
    accounts = "abcd"

    async def work(slot: int, part: int) -> None:
        numbers = range(1_000 * slot + 40 * part, 1_000 * slot + 40 * part + 40)
        for account in accounts:
            granted = await store.grant(account, slot, epoch=epochs[slot], need=1_000, processes=3)
            assert isinstance(granted, Granted)
        rows = [new_claim(n, accounts[(n * 7 + part) % 4]) for n in numbers]
        answers = await store.claim(slot, epochs[slot], rows)
        assert all(isinstance(answer, Claimed) for answer in answers)
        settlements = [
            replace(settlement(n), payee=f"worker:{(n * 5 + part) % 6}") for n in numbers
        ]
        again = settlements[::-1]
        first, second = await asyncio.gather(store.settle(settlements), store.settle(again))
        assert first == second[::-1]

    await asyncio.gather(*(work(slot, part) for slot in epochs for part in range(4)), store.reap())
    total = sum([await posted(database_url, account) for account in accounts])
    assert total == 400_000 - 3 * 4 * 40 * 55
