"""Whatever becomes of sendings, in any order and across restarts: what a gateway may have seen is
kept until it is proven or over, what it cannot have seen holds nothing (SPEC 7.9).
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bombyx.client.channel.payer import Payer
from bombyx.client.channel.store import ChannelStore
from bombyx.errors import PaymentRequired
from bombyx.money.channel.spending import Caps, topped_up
from tests.bombyx.client.channel.conftest import lay_down
from tests.bombyx.money.channel.parties import receipt
from tests.factories import NOW, seed

CAPS = Caps(max_inflight=500, max_daily=5_000, max_deposit=10_000)
COST = 100
ENDS = ["never left", "turned away", "broke", "answered"]


def sealed(c: bytes, now: int) -> Any:
    """As much of a sealed request as the books look at."""
    header = SimpleNamespace(header=SimpleNamespace(max_cost_nano=str(COST)))
    request = SimpleNamespace(c=c, header=header)
    return SimpleNamespace(request=request, deadline=now + 1_500, chosen={})


@dataclass
class Exchange:
    c: bytes


class Sendings(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.place = lay_down(Path(self.folder.name) / "channels")
        self.now = NOW
        self.running: list[Exchange] = []
        self.count = 0
        self.doubtful: dict[bytes, int] = {}
        self.proven: set[bytes] = set()
        self.over: set[bytes] = set()
        self.payer = self.opened()
        self.payer.change(lambda purse: topped_up(purse, 10_000)).result()

    def opened(self) -> Payer:
        return Payer(ChannelStore(self.place), CAPS, clock=lambda: self.now)

    def teardown(self) -> None:
        self.payer.close()
        self.folder.cleanup()

    @rule(is_retry=st.booleans(), data=st.data())
    def begin(self, data: st.DataObject, *, is_retry: bool) -> None:
        known = sorted({*self.doubtful, *self.payer.purse.inflight, *self.payer.purse.lapsed})
        if is_retry and known:
            c = data.draw(st.sampled_from(known))
        else:
            self.count += 1
            c = seed(f"c{self.count}")
        self.payer.began(c)
        try:
            self.payer.spend(sealed(c, self.now))
        except PaymentRequired:
            self.payer.ended(c)
            return
        self.running.append(Exchange(c))
        self.over.discard(c)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), end=st.sampled_from(ENDS))
    def send(self, data: st.DataObject, end: str) -> None:
        one = data.draw(st.sampled_from(self.running))
        self.payer.leaves(one.c)
        if end == "never left":
            self.payer.stayed(one.c)
        elif end == "turned away":
            self.payer.turned_away(one.c)
        else:
            self.doubtful[one.c] = self.doubtful.get(one.c, 0) + 1
        if end == "answered":
            self.payer.prove(
                receipt(
                    one.c,
                    COST // 2,
                    payer=self.payer.store.record.payer,
                    gateway=self.payer.store.record.identity,
                )
            )
            self.proven.add(one.c)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.running))
        self.running.remove(one)
        self.payer.ended(one.c)

    @rule(seconds=st.sampled_from([10, 2_000]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds
        for c in self.payer.overdue(1_000):
            self.payer.late(c, None)
            self.over.add(c)

    @rule()
    def restart(self) -> None:
        """What runs is cut off. What was answered is asked by nobody again: its session has ended
        with the books' life; what was not is sent again here, though only a session might.
        """
        self.payer.close()
        self.payer = self.opened()
        self.running = []
        for c in (*self.payer.purse.inflight, *self.payer.purse.lapsed):
            self.doubtful.setdefault(c, 1)
        self.over |= self.payer.purse.lapsed.keys()
        self.doubtful = {c: n for c, n in self.doubtful.items() if c not in self.proven}

    @invariant()
    def what_may_run_is_kept(self) -> None:
        purse = self.payer.purse
        for c in self.doubtful.keys() - self.proven:
            assert c in purse.inflight or (c in self.over and c in purse.lapsed)

    @invariant()
    def what_is_about_to_be_sent_is_kept(self) -> None:
        for one in self.running:
            assert one.c in {*self.payer.purse.inflight, *self.proven, *self.over}

    @invariant()
    def what_cannot_run_holds_nothing(self) -> None:
        awaited = {one.c for one in self.running}
        assert self.payer.purse.inflight.keys() - awaited <= self.doubtful.keys() - self.proven

    @invariant()
    def a_receipt_counts_once_and_the_cap_holds(self) -> None:
        purse = self.payer.purse
        assert purse.proven == len(self.proven) * (COST // 2)
        assert purse.at_risk <= CAPS.max_inflight
        assert purse.spent_today <= CAPS.max_daily


TestSendings = Sendings.TestCase
TestSendings.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
