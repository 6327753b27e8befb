"""Who had what before and after, to the nano: the demo's check of a channel's whole life."""

from dataclasses import dataclass

from bombyx.cli.network.chain import Chain
from bombyx.errors import BombyxError, RemoteError

MAX_LOOKS = 20
"""A devnet that never rests between two looks is not ours alone."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Nano of everybody concerned, and all fees that the chain ever took."""

    accounts: dict[str, int]
    fees: int

    @property
    def total(self) -> int:
        """What all of them have."""
        return sum(self.accounts.values())

    def document(self) -> dict[str, str]:
        """By name, amounts as text."""
        return {name: str(amount) for name, amount in self.accounts.items()}


@dataclass(frozen=True, slots=True)
class Fees:
    """What each side paid to the chain, in nano."""

    client: int
    gateway: int

    @property
    def total(self) -> int:
        """Both."""
        return self.client + self.gateway

    def document(self) -> dict[str, str]:
        """Amounts as text."""
        sides = {"client": self.client, "gateway": self.gateway, "total": self.total}
        return {name: str(amount) for name, amount in sides.items()}


def snapshot(chain: Chain, addresses: dict[str, str]) -> Snapshot:
    """Balances by name, all of one moment; raises `RemoteError`."""
    for _ in range(MAX_LOOKS):
        fees = chain.fees()
        accounts = {name: chain.balance(address) for name, address in addresses.items()}
        if chain.fees() == fees:
            return Snapshot(accounts, fees)
    raise RemoteError("the devnet is busy: balances of one moment cannot be read")


def fees_between(before: Snapshot, after: Snapshot, *, paid: int) -> Fees:
    """What the two sides paid beside the `paid` nano that went from one to the other.

    The client's includes what stays in the closed contract for its rent. Raises `BombyxError`
    where money appeared or is gone.
    """
    lost = before.total - after.total
    if lost != after.fees - before.fees:
        raise BombyxError(
            f"the accounts have {lost} nano less, and the chain took {after.fees - before.fees}"
        )
    gateway = before.accounts["gateway"] + paid - after.accounts["gateway"]
    fees = Fees(client=lost - gateway, gateway=gateway)
    if min(fees.client, fees.gateway) < 0:
        raise BombyxError(f"somebody was paid more than {paid} nano")
    return fees
