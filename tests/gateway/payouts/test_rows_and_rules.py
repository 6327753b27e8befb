"""Random histories of one owner: the database's row is the pure rules' at every step (SPEC 8).

Bills, vouchers, looks at the chain and old vouchers come in any order, twice and late; the channel
is closed in the middle and another one takes its place.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import ClassVar, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bombyx.money.channel import payout
from bombyx.money.channel.payout import Owed
from bombyx.money.channel.terms import Ceiling
from gateway.channels.ledger import writing
from gateway.database import create_engine
from gateway.metering.stores import open_store
from gateway.payouts.repository import Payouts, uneven_payouts
from gateway.payouts.rows import StoredPayout
from tests.bombyx.money.channel.parties import NETWORK
from tests.gateway.metering.samples import fund
from tests.gateway.payouts.samples import OWNER, channel, earn, kept

T = TypeVar("T")
_NANO = st.sampled_from([1, 40, 99, 100, 101, 250, 600, 1_200])


class History(RuleBasedStateMachine):
    """One owner, one model of what it is owed."""

    template: ClassVar[Path]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="bombyx-payout-"))
        self.url = f"sqlite:///{self.folder}/gateway.db"
        self.model = Owed()
        self.claimed = self.number = self.earned = self.forgotten = self.vouched_before = 0
        self.salt = 1
        self.is_live = True

    def run(self, work: Awaitable[T]) -> T:
        async def done() -> T:
            return await work

        return self.loop.run_until_complete(done())

    @initialize()
    def start(self) -> None:
        shutil.copyfile(self.template, self.folder / "gateway.db")
        self.run(fund(self.url, amount=10**9))
        self.engine = create_engine(self.url)
        self.payouts = Payouts(self.engine, network=NETWORK)
        self.store = self.run(open_store(self.url))
        self.epoch = self.run(self.store.open_process(1, "wss://gw"))
        self.run(self.begin())

    async def begin(self) -> bool:
        async with writing(self.engine) as connection:
            return await self.payouts.begin_in(connection, OWNER, channel(self.salt), ordered=0)

    @property
    def id(self) -> str:
        return channel(self.salt).account.hex()

    def row(self) -> StoredPayout:
        found = self.run(kept(self.url, self.id))
        assert found is not None
        return found

    # --- Workers ---

    @rule(amount=_NANO)
    def bill(self, amount: int) -> None:
        self.number += 1
        self.run(earn(self.store, self.epoch, self.number, amount))
        self.earned += amount
        self.model = payout.ended(payout.dispatched(self.model, amount), amount, billed=amount)

    @rule(amount=_NANO)
    def show_a_voucher(self, amount: int) -> None:
        held = Ceiling(amount, 0, b"signed" * 10)
        before = self.model.billed
        self.run(self.payouts.adopt(OWNER, channel(self.salt), held))
        self.model = payout.adopted(self.model, held)
        self.forgotten += self.model.billed - before

    # --- The gateway ---

    @rule()
    def vouch(self) -> None:
        stored = self.run(self.payouts.vouch(OWNER))
        assert (stored is not None) == self.is_live
        if self.is_live:
            self.model = payout.vouched(self.model)

    @precondition(lambda self: not self.is_live)
    @rule()
    def another_channel(self) -> None:
        self.vouched_before += self.model.vouched
        self.model = payout.with_new_channel(self.model)
        self.salt += 1
        self.claimed, self.is_live = 0, True
        assert self.run(self.begin())

    @precondition(lambda self: self.is_live)
    @rule()
    def begin_a_second_one(self) -> None:
        self.salt += 1
        assert not self.run(self.begin())
        self.salt -= 1

    # --- The chain ---

    @rule(total=_NANO)
    def see_deposits(self, total: int) -> None:
        self.run(self.payouts.fund(self.id, total))
        self.model = payout.funded(self.model, total)

    @rule(total=_NANO)
    def see_claims(self, total: int) -> None:
        before = self.model.billed
        self.run(self.payouts.claimed(self.id, total))
        self.model = payout.adopted(self.model, Ceiling(total))
        self.forgotten += self.model.billed - before
        self.claimed = max(self.claimed, total)

    @precondition(lambda self: self.number > 5)
    @rule(is_over=st.booleans())
    def see_a_close(self, is_over: bool) -> None:
        self.run(self.payouts.close_started(self.id, 5_000))
        if is_over:
            self.run(self.payouts.closed(self.id))
        self.is_live = False

    # --- What always holds ---

    @invariant()
    def the_row_is_the_models(self) -> None:
        if not hasattr(self, "store"):
            return
        row, unpaid = self.row(), self.run(self.payouts.unpaid(OWNER))
        assert row.owed(unpaid) == self.model
        assert (row.claimed, row.live) == (self.claimed, self.is_live)
        # Every nano that was billed is in one voucher or still owed.
        paid = self.vouched_before + self.model.vouched
        assert paid + unpaid == self.earned + self.forgotten

    def teardown(self) -> None:
        if hasattr(self, "store"):
            try:
                assert self.run(uneven_payouts(self.engine)) == []
                assert self.run(self.store.ledger_sum()) == 0
                assert self.run(self.store.unposted()) == []
            finally:
                self.run(self.store.close())
                self.run(self.engine.dispose())
        self.loop.close()
        shutil.rmtree(self.folder)


def test_an_owners_row_is_always_what_the_rules_say(sqlite_template: Path) -> None:
    History.template = sqlite_template
    run_state_machine_as_test(
        History,
        settings=settings(
            max_examples=12,
            stateful_step_count=24,
            deadline=None,
            phases=[Phase.explicit, Phase.reuse, Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
