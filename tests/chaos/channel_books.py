"""Who got what when all channels have ended: by the chain, the gateway and the wallets."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import httpx2
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from bombyx import canonical
from bombyx.client.channel.store import read_purse, read_record
from bombyx.money.receipt import Receipt
from gateway.metering import queries
from tests.chaos.purses import GIVEN, Purse

RENT = 20_000_000
"""What a closed channel keeps at most, so that its address stays taken."""
MOST_FEES = 200_000_000
"""A wallet's fees in a storm are far below; what is lost beyond is money."""


@dataclass(frozen=True, slots=True)
class Ended:
    """One channel by everybody's books, in nano."""

    purse: str
    channel: str
    closed: bool
    deposited: int
    claimed: int
    """By the chain."""
    charged: int
    reserved: int
    halted: bool
    """By the gateway's row."""
    billed: int
    """The charges of its billed receipts."""
    proven: int
    signed: int
    """By the client's books."""
    contract: int
    wallet: int
    """Balances on chain."""

    def faults(self) -> list[str]:
        """Which rules it broke."""
        held = {
            "is not closed": self.closed,
            "is halted": not self.halted,
            "still reserves": self.reserved == 0,
            "was charged something else than its billed receipts": self.charged == self.billed,
            "paid something else than was charged": self.claimed == self.charged,
            "paid more than was signed": self.claimed <= self.signed,
            "has charges that no receipt proves to its client": self.claimed <= self.proven,
            "keeps more than its rent": 0 <= self.contract <= RENT,
            "did not give the rest back": 0
            <= GIVEN - self.wallet - self.claimed - self.contract
            <= MOST_FEES,
        }
        return [f"{self.purse} {what}: {asdict(self)}" for what, good in held.items() if not good]


@dataclass(frozen=True, slots=True)
class Sums:
    """The whole chain."""

    minted: int
    fees: int
    wallets: int
    contracts: int
    gateway: int
    claimed: int
    gateway_given: int

    def faults(self) -> list[str]:
        """Which sums are not even."""
        held = {
            "money appeared or is gone": self.minted
            == self.fees + self.wallets + self.contracts + self.gateway,
            "the gateway lacks what it claimed": 0
            <= self.gateway_given + self.claimed - self.gateway
            <= MOST_FEES,
        }
        return [f"{what}: {asdict(self)}" for what, good in held.items() if not good]


class Devnet:
    """What its HTTP tells."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx2.AsyncClient(trust_env=False, timeout=10)

    async def close(self) -> None:
        await self._http.aclose()

    async def give(self, address: str, nano: int) -> None:
        """Money for nothing."""
        asked = {"address": address, "amount_nano": str(nano)}
        answer = await self._http.post(f"{self.url}/devnet/faucet", json=asked)
        answer.raise_for_status()

    async def balance(self, address: str) -> int:
        answer = await self._http.get(
            f"{self.url}/api/v2/getAddressBalance", params={"address": address}
        )
        return int(answer.json()["result"])

    async def status(self) -> dict[str, Any]:
        answer = await self._http.get(f"{self.url}/devnet/status")
        return dict(answer.json())

    async def advance(self, seconds: int) -> None:
        """Put the clock forward."""
        answer = await self._http.post(f"{self.url}/devnet/clock", json={"advance": seconds})
        answer.raise_for_status()


async def read_ended(purse: Purse, engine: AsyncEngine, devnet: Devnet) -> Ended:
    """One purse's channel."""
    (folder,) = purse.folders()
    record = read_record(folder)
    books = read_purse(folder, record)
    async with purse.side() as side:
        seen = await side.look(record.channel)
    if seen is None:
        raise ValueError(f"{purse.name}: the chain has no such channel")
    name = record.registration.channel
    async with engine.connect() as connection:
        row = await connection.execute(
            text("SELECT charged, reserved, halted FROM channel WHERE id = :id"), {"id": name}
        )
        charged, reserved, halted = row.one()
        billed = await connection.execute(
            text(
                "SELECT COALESCE(SUM(r.charge_nano), 0) FROM receipt r JOIN claim c ON r.c = c.c "
                "WHERE r.disposition = 'billed' AND c.channel = :id"
            ),
            {"id": name},
        )
        total = int(billed.scalar_one())
    return Ended(
        purse=purse.name,
        channel=name,
        closed=seen.closed,
        deposited=seen.deposited,
        claimed=seen.claimed,
        charged=int(charged),
        reserved=int(reserved),
        halted=bool(halted),
        billed=total,
        proven=books.proven,
        signed=books.signed_max,
        contract=await devnet.balance(f"0:{name}"),
        wallet=await devnet.balance(purse.address),
    )


async def read_sums(
    ended: Sequence[Ended], devnet: Devnet, *, gateway: str, gateway_given: int
) -> Sums:
    """All of the chain, which nobody else uses."""
    status = await devnet.status()
    return Sums(
        minted=int(status["minted_nano"]),
        fees=int(status["fees_nano"]),
        wallets=sum(one.wallet for one in ended),
        contracts=sum(one.contract for one in ended),
        gateway=await devnet.balance(gateway),
        claimed=sum(one.claimed for one in ended),
        gateway_given=gateway_given,
    )


async def uneven_channels(engine: AsyncEngine) -> list[str]:
    """Channels whose rows are not what claims and ledger say; none, at every moment."""
    async with engine.connect() as connection:
        return [str(row[0]) for row in await connection.execute(text(queries.UNEVEN_CHANNELS))]


async def unpaid_work(engine: AsyncEngine) -> dict[str, int]:
    """Per worker: nano of statements that came too late to be billed (its own loss, SPEC 16).

    Out of the statements: the row of one that is not billed has no charge.
    """
    query = "SELECT worker, document FROM receipt WHERE disposition = 'expired'"
    lost = Counter[str]()
    async with engine.connect() as connection:
        for worker, document in await connection.execute(text(query)):
            statement = canonical.decode(bytes(document), Receipt).statement
            lost[str(worker)] += int(statement.charge_nano)
    return {worker: nano for worker, nano in lost.items() if nano}
