"""A process that claims until it is killed; each number it prints is a committed claim."""

import asyncio
import sys

from gateway.metering.stores import open_store
from tests.gateway.metering.clocks import HandClock
from tests.gateway.metering.meters import still_meter
from tests.gateway.metering.samples import new_claim


async def claim_for_ever(url: str) -> None:
    store = await open_store(url)
    meter = still_meter(store, HandClock())
    await meter.start(1, "wss://a")
    number = 0
    while True:
        number += 1
        await meter.claim(new_claim(number, reserve=1))
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(claim_for_ever(sys.argv[1]))
