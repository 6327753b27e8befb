"""Random histories of one channel: the database's row is the pure rules' at every step (SPEC 7, 9).

Clients lie and race: vouchers come late, low or not at all, requests above every cover, ends in the
middle; processes are replaced while claims run. A model moved by `acceptance` alone is compared.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
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
from sqlalchemy.ext.asyncio import AsyncEngine

from bombyx.errors import BombyxError
from bombyx.money.channel import acceptance
from bombyx.money.channel.acceptance import ChannelRow
from bombyx.money.channel.terms import Ceiling
from gateway.channels.ledger import ensure_account
from gateway.channels.repository import Channels
from gateway.channels.rows import StoredChannel, channel_account
from gateway.database import create_engine
from gateway.metering.rows import Claimed, Uncovered
from gateway.metering.stores import open_store
from tests.bombyx.money.channel.parties import CHANNEL
from tests.gateway.channels.samples import ID, by_channel
from tests.gateway.metering.samples import fund, nothing, posted, settlement

T = TypeVar("T")
_NANO = st.sampled_from([0, 1, 40, 99, 100, 101, 250, 600, 1_200])
_NOW = st.integers(1_000, 4_000)


def signed(amount: int) -> Ceiling:
    """What a check would have made of a voucher: nobody looks at its signature again here."""
    return Ceiling(amount, 0, amount.to_bytes(64))


async def ensure(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await ensure_account(connection, channel_account(ID))


class History(RuleBasedStateMachine):
    """One channel, one model of it."""

    template: ClassVar[Path]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="bombyx-channel-"))
        self.url = f"sqlite:///{self.folder}/gateway.db"
        self.model = ChannelRow()
        self.open: dict[int, int] = {}
        self.ended: list[int] = []
        self.number = 0

    def run(self, work: Awaitable[T]) -> T:
        async def done() -> T:
            return await work

        return self.loop.run_until_complete(done())

    @initialize()
    def start(self) -> None:
        shutil.copyfile(self.template, self.folder / "gateway.db")
        self.run(fund(self.url))
        self.engine = create_engine(self.url)
        self.channels = Channels(self.engine)
        self.store = self.run(open_store(self.url))
        self.run(self.channels.register(CHANNEL, "alice"))
        self.epoch = self.run(self.store.open_process(1, "wss://gw"))

    def same(self, act: Awaitable[StoredChannel], step: Callable[[ChannelRow], ChannelRow]) -> None:
        """Both move, or both refuse with the same code."""
        expected, got = None, None
        try:
            self.model = step(self.model)
        except BombyxError as error:
            expected = error.code
        try:
            self.run(act)
        except BombyxError as error:
            got = error.code
        assert got == expected

    # --- The client ---

    @rule(
        wanted=st.lists(st.tuples(_NANO, st.none() | _NANO), min_size=1, max_size=5),
    )
    def ask_at_once(self, wanted: list[tuple[int, int | None]]) -> None:
        batch = []
        for cost, amount in wanted:
            self.number += 1
            offered = None if amount is None else signed(amount)
            batch.append(by_channel(self.number, cost, offered))
        answers = self.run(self.store.claim_by_channel(1, self.epoch, batch))
        for number, one, answer in zip(
            range(self.number - len(batch) + 1, self.number + 1), batch, answers, strict=True
        ):
            cost, expected, got = one.claim.reserve, None, None
            if isinstance(answer, Uncovered):
                assert answer.row == self.model
                got = answer.error.code
            try:
                self.model = acceptance.reserve(self.model, cost, offered=one.offered)
                self.open[number] = cost
            except BombyxError as error:
                expected = error.code
            assert got == expected
            assert isinstance(answer, Claimed) == (expected is None)

    @rule()
    def ask_for_an_end(self) -> None:
        self.same(self.channels.close_asked(ID), acceptance.close_asked)

    @rule(now=_NOW)
    def want_to_go_on(self, now: int) -> None:
        self.same(
            self.channels.reopened(ID, now=now), lambda row: acceptance.reopened(row, now=now)
        )

    # --- The gateway ---

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.open)))
        reserve = self.open.pop(number)
        charge = data.draw(st.integers(0, reserve))
        row = settlement(number, amount=charge, fee=0) if charge else nothing(number)
        self.run(self.store.settle([row, row]))
        self.model = acceptance.settle(self.model, reserve, charge=charge)
        self.ended.append(number)

    @precondition(lambda self: self.ended)
    @rule(data=st.data())
    def settle_again(self, data: st.DataObject) -> None:
        self.run(self.store.settle([settlement(data.draw(st.sampled_from(self.ended)), seq=9)]))

    @rule()
    def another_process_takes_over(self) -> None:
        self.epoch = self.run(self.store.open_process(1, "wss://gw"))

    @rule(now=_NOW, ahead=st.integers(-1, 700))
    def sign_terms(self, now: int, ahead: int) -> None:
        self.same(
            self.channels.sign_close_terms(ID, valid_until=now + ahead, now=now),
            lambda row: acceptance.sign_close_terms(
                row, row.charged, valid_until=now + ahead, now=now
            ),
        )

    # --- The chain ---

    @rule(total=_NANO)
    def see_deposits(self, total: int) -> None:
        if not self.model.closed:
            self.same(self.channels.fund(ID, total), lambda row: acceptance.top_up(row, total))

    @rule(total=_NANO)
    def see_claims(self, total: int) -> None:
        self.same(self.channels.claimed(ID, total), lambda row: acceptance.claimed(row, total))

    @precondition(lambda self: self.number > 12)
    @rule(total=_NANO)
    def see_more_claims_than_we_know(self, total: int) -> None:
        self.same(
            self.channels.rolled_back(ID, total), lambda row: acceptance.rolled_back(row, total)
        )

    @precondition(lambda self: self.model.halted)
    @rule(total=_NANO, amount=_NANO)
    def resume(self, total: int, amount: int) -> None:
        held = signed(amount)
        self.same(
            self.channels.resumed(ID, total, held=held, lost_s=0),
            lambda row: acceptance.resumed(row, total, held=held),
        )

    @precondition(lambda self: self.number > 8)
    @rule(at=_NOW)
    def see_a_close(self, at: int) -> None:
        self.same(
            self.channels.close_started(ID, at), lambda row: acceptance.close_started(row, at)
        )

    @precondition(lambda self: self.number > 10)
    @rule()
    def see_a_tombstone(self) -> None:
        self.same(self.channels.closed(ID), acceptance.closed)

    # --- What always holds ---

    @invariant()
    def the_row_is_the_models(self) -> None:
        if not hasattr(self, "store"):
            return
        row = self.run(self.channels.row(ID)).row
        assert row == self.model
        assert row.charged + row.reserved <= min(row.ceiling.amount, row.deposited)
        assert row.reserved == sum(self.open.values())

    def books_are_even(self) -> None:
        assert self.run(self.store.uneven_channels()) == []
        assert self.run(self.store.ledger_sum()) == 0
        assert self.run(self.store.billing_gap()) == 0
        assert self.run(self.store.unposted()) == []
        assert self.run(self.store.overcommitted()) == []

    def teardown(self) -> None:
        if hasattr(self, "store"):
            try:
                self.end()
            finally:
                self.run(self.store.close())
                self.run(self.engine.dispose())
        self.loop.close()
        shutil.rmtree(self.folder)

    def end(self) -> None:
        """Whatever happened, a tombstone's account is empty once nothing runs."""
        self.books_are_even()
        self.run(self.store.settle([nothing(number) for number in self.open]))
        self.run(self.channels.closed(ID))
        self.books_are_even()
        self.run(ensure(self.engine))
        assert self.run(posted(self.url, channel_account(ID))) == 0


def test_a_channels_row_is_always_what_the_rules_say(sqlite_template: Path) -> None:
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
