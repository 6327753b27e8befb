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

    def completed(self, later: "Snapshot") -> "Snapshot":
        """The same with nothing in accounts that came to be since."""
        return Snapshot({name: self.accounts.get(name, 0) for name in later.accounts}, self.fees)

    def document(self) -> dict[str, str]:
        """By name, amounts as text."""
        return {name: str(amount) for name, amount in self.accounts.items()}


@dataclass(frozen=True, slots=True)
class Fees:
    """What each side paid to the chain, in nano."""

    client: int
    gateway: int
    owner: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.client + self.gateway + self.owner

    def document(self) -> dict[str, str]:
        """Amounts as text."""
        sides = {"client": self.client, "gateway": self.gateway, "owner": self.owner}
        sides["total"] = self.total
        return {name: str(amount) for name, amount in sides.items()}


def snapshot(chain: Chain, addresses: dict[str, str]) -> Snapshot:
    """Balances by name, all of one moment; raises `RemoteError`."""
    for _ in range(MAX_LOOKS):
        fees = chain.fees()
        accounts = {name: chain.balance(address) for name, address in addresses.items()}
        if chain.fees() == fees:
            return Snapshot(accounts, fees)
    raise RemoteError("the devnet is busy: balances of one moment cannot be read")


def fees_between(before: Snapshot, after: Snapshot, *, paid: int, earned: int) -> Fees:
    """What the sides paid to the chain.

    `paid` nano went from the client to the gateway, and `earned` from the gateway to the owner, by
    contracts whose balances count as their clients'; so does what stays in a closed one for its
    rent. Raises `BombyxError` where money appeared or is gone.
    """
    lost = before.total - after.total
    if lost != after.fees - before.fees:
        raise BombyxError(
            f"the accounts have {lost} nano less, and the chain took {after.fees - before.fees}"
        )
    gateway = _lost(before, after, "gateway", "payout") + paid - earned
    owner = _lost(before, after, "owner") + earned
    fees = Fees(client=lost - gateway - owner, gateway=gateway, owner=owner)
    if min(fees.client, fees.gateway, fees.owner) < 0:
        raise BombyxError(f"somebody was paid more than {paid} or {earned} nano")
    return fees


def _lost(before: Snapshot, after: Snapshot, *names: str) -> int:
    return sum(before.accounts[name] - after.accounts[name] for name in names)
