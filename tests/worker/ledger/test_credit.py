"""SPEC 8.3: unpaid and in flight together stay within the limit, gateway by gateway."""

import pytest

from bombyx.errors import Draining, Unpaid, WorkerBusy
from bombyx.units import Nano
from worker.ledger.credit import Credit


@pytest.mark.spec("8.3-a")
def test_unpaid_and_in_flight_stay_within_the_limit() -> None:
    owed = {"a": 60}
    credit = Credit(lambda gateway: owed.get(gateway, 0), limit=lambda _: 100, places=10)
    credit.reserve("a", Nano(30))
    with pytest.raises(Unpaid):
        credit.reserve("a", Nano(11))
    credit.reserve("a", Nano(10))
    credit.reserve("b", Nano(100))
    credit.release("a", Nano(30))
    credit.reserve("a", Nano(30))
    assert credit.running == 3


def test_without_channels_there_is_no_limit() -> None:
    credit = Credit(lambda _: 10**15, limit=lambda _: None, places=1)
    credit.reserve("a", Nano(10**15))


def test_places_and_draining_refuse_before_money_is_looked_at() -> None:
    credit = Credit(lambda _: 10**15, limit=lambda _: 0, places=0)
    with pytest.raises(WorkerBusy):
        credit.reserve("a", Nano(1))
    credit.is_draining = True
    with pytest.raises(Draining):
        credit.reserve("a", Nano(1))
