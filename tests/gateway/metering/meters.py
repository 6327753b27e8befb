"""Meters whose loops stand still, to be turned by hand."""

from gateway.metering.membership import Timing
from gateway.metering.meter import Meter
from gateway.metering.port import Store
from gateway.metering.rows import SettlementRow, StoredClaim
from tests.gateway.metering.clocks import HandClock

NEVER_S = 1e6
STILL = Timing(
    renew_s=NEVER_S,
    recall_s=NEVER_S,
    reap_s=NEVER_S,
    recall_waits_s=(0.0,),
    settle_window_s=0.0,
    close_s=5.0,
)


def at_nothing(claim: StoredClaim) -> SettlementRow:
    return SettlementRow(claim.c)


def still_meter(store: Store, clock: HandClock) -> Meter:
    return Meter(store, on_deadline=at_nothing, clock=clock, timing=STILL)


async def crash(meter: Meter) -> None:
    """End the meter's tasks as the death of its process would: nothing is written or given back."""
    for loop in meter._loops:
        loop.cancel()
