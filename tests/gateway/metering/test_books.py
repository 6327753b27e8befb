"""Random histories of several processes: the books are even after every step (SPEC 5, 6.9).

Processes claim, settle (twice, in any order), crash, stop, wake, recall and reap, while the clocks
run. A model knows what each claim must have cost.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bombyx.errors import InsufficientQuota
from gateway.metering.meter import Meter
from gateway.metering.port import Store
from gateway.metering.rows import Claimed, Conflict, Disposition
from gateway.metering.stores import open_store
from tests.gateway.metering.clocks import HandClock
from tests.gateway.metering.meters import crash, still_meter
from tests.gateway.metering.samples import age, execute, fund, new_claim, settlement, sha

T = TypeVar("T")

_SLOTS = st.integers(1, 3)
_ACCOUNTS = st.sampled_from(["alice", "alice", "carol"])
_RESERVES = st.sampled_from([0, 1, 20, 60, 150, 400])
"""Small ones leave much of a grant free, large ones need it back."""
_START = 500
_LIFE_MS = 60_000


class Books(RuleBasedStateMachine):
    """Gateways on one database; `url` is set by the test."""

    url: ClassVar[str]
    template: ClassVar[Path | None] = None

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="bombyx-books-"))
        self.meters: dict[int, Meter] = {}
        self.clocks: dict[int, HandClock] = {}
        self.claims: dict[int, tuple[str, int]] = {}
        self.charged: dict[int, int] = {}
        self.numbers = 0

    def run(self, work: Awaitable[T]) -> T:
        return self.loop.run_until_complete(self._until_done(work))

    @staticmethod
    async def _until_done(work: Awaitable[T]) -> T:
        return await work

    @initialize()
    def open(self) -> None:
        self.run(self._open())

    async def _open(self) -> None:
        self.database = await self._fresh()
        for account in ("alice", "carol"):
            await fund(self.database, account, _START)
        self.store: Store = await open_store(self.database)

    async def _fresh(self) -> str:
        if self.template is not None:
            shutil.copyfile(self.template, self.folder / "gateway.db")
            return f"sqlite:///{self.folder}/gateway.db"
        tables = "account, ledger_entry, process, lease, claim, attempt, receipt"
        await execute(self.url, f"TRUNCATE {tables} CASCADE")
        return self.url

    def _meter(self, slot: int) -> Meter:
        if slot not in self.meters:
            self.clocks[slot] = HandClock()
            self.meters[slot] = still_meter(self.store, self.clocks[slot])
            self.run(self.meters[slot].start(slot, f"wss://{slot}"))
        return self.meters[slot]

    @rule(slot=_SLOTS, account=_ACCOUNTS, reserve=_RESERVES)
    def claim(self, slot: int, account: str, reserve: int) -> None:
        meter = self._meter(slot)
        self.numbers += 1
        row = new_claim(self.numbers, account, reserve, deadline=self._deadline())
        try:
            assert isinstance(self.run(meter.claim(row)), Claimed)
        except InsufficientQuota:
            return
        self.claims[self.numbers] = (account, reserve)

    def _deadline(self) -> int:
        return self.run(self.store.now_ms()) + _LIFE_MS

    @precondition(lambda self: self.claims)
    @rule(slot=_SLOTS, data=st.data())
    def claim_again(self, slot: int, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.claims)))
        account, reserve = self.claims[number]
        try:
            answer = self.run(self._meter(slot).claim(new_claim(number, account, reserve)))
        except InsufficientQuota:
            return
        assert isinstance(answer, Conflict)

    @precondition(lambda self: self.claims)
    @rule(slot=_SLOTS, data=st.data(), share=st.integers(0, 100), twice=st.booleans())
    def settle(self, slot: int, data: st.DataObject, *, share: int, twice: bool) -> None:
        number = data.draw(st.sampled_from(sorted(self.claims)))
        charge = self.claims[number][1] * share // 100
        fee = charge // 10
        row = settlement(number, charge - fee, fee, seq=share)
        meter = self._meter(slot)
        outcomes = self.run(self._settle(meter, [row] * (1 + twice)))
        assert len(set(outcomes)) == 1
        if number not in self.charged:
            assert outcomes[0].disposition is Disposition.BILLED
            self.charged[number] = charge
        assert outcomes[0].charge == self.charged[number]

    @staticmethod
    async def _settle(meter: Meter, rows: list[Any]) -> list[Any]:
        return list(await asyncio.gather(*(meter.settle(row) for row in rows)))

    @precondition(lambda self: self.meters)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.meters)))
        self.run(crash(self.meters.pop(slot)))

    @precondition(lambda self: self.meters)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.meters)))
        self.run(self.meters.pop(slot).close())

    @rule(seconds=st.sampled_from([1, 6, 13, 16, 21, 61]), awake=st.booleans())
    def pass_time(self, seconds: int, *, awake: bool) -> None:
        """The clocks run; processes that are awake renew, the others were stopped."""
        self.run(age(self.database, seconds * 1_000))
        for slot, meter in self.meters.items():
            self.clocks[slot].seconds += seconds
            if awake:
                self.run(meter.renew())

    @precondition(lambda self: self.meters)
    @rule(data=st.data())
    def reap(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.meters)))
        self.run(self.meters[slot].reap())
        self._learn_deadlines()

    def _learn_deadlines(self) -> None:
        """Claims past their deadline were settled at nothing by the hook."""
        missing = [sha("c", number) for number in self.claims if number not in self.charged]
        stored = self.run(self.store.find_claims(missing))
        for number in self.claims:
            claim = stored.get(sha("c", number))
            if claim is not None and claim.settled:
                assert claim.charge == 0
                self.charged[number] = 0

    @precondition(lambda self: self.meters)
    @rule(data=st.data())
    def honour_recalls(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.meters)))
        self.run(self.meters[slot].honour_recalls())

    @invariant()
    def books_are_even(self) -> None:
        if hasattr(self, "store"):
            self.run(self._check())

    async def _check(self) -> None:
        assert await self.store.ledger_sum() == 0
        assert await self.store.billing_gap() == 0
        assert await self.store.unposted() == []
        assert await self.store.overcommitted() == []

    @invariant()
    def everyone_paid_exactly_what_was_settled(self) -> None:
        if not hasattr(self, "store"):
            return
        for account in ("alice", "carol"):
            spent = sum(
                charge
                for number, charge in self.charged.items()
                if self.claims[number][0] == account
            )
            rows = self.run(
                execute(self.database, "SELECT posted FROM account WHERE id = :a", a=account)
            )
            assert rows[0][0] == _START - spent

    @invariant()
    def leases_hold_what_is_free_and_what_is_reserved(self) -> None:
        if not hasattr(self, "store"):
            return
        rows = self.run(execute(self.database, "SELECT account, slot, epoch, granted FROM lease"))
        for account, slot, epoch, granted in rows:
            meter = self.meters.get(slot)
            if meter is not None and meter._members.epoch == epoch:
                assert granted == self._free(meter, account) + self._reserved(meter, account)

    @staticmethod
    def _free(meter: Meter, account: str) -> int:
        pocket = meter._purses._pockets.get(account)
        return pocket.purse.free if pocket is not None else 0

    def _reserved(self, meter: Meter, account: str) -> int:
        """Reserves of this epoch, less what other processes settled of them meanwhile."""
        numbers = {sha("c", number): number for number in self.claims}
        return sum(
            held.reserve - self.charged.get(numbers[c], 0)
            for c, held in meter._held.items()
            if held.account == account and held.epoch == meter._members.epoch
        )

    def teardown(self) -> None:
        for meter in self.meters.values():
            self.run(meter.close())
        if hasattr(self, "store"):
            self.run(self.store.close())
        self.loop.close()
        shutil.rmtree(self.folder)


def _run(machine: type[Books], *, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.spec("5.1-a", "5.4-b", "6.9-a")
def test_books_stay_even_on_sqlite(sqlite_template: Path) -> None:
    machine = type("SqliteBooks", (Books,), {"template": sqlite_template})
    _run(machine, examples=25, steps=40)


def test_books_stay_even_on_postgresql(postgres_url: str) -> None:
    machine = type("PostgresBooks", (Books,), {"url": postgres_url})
    _run(machine, examples=4, steps=25)
