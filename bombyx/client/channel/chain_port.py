"""What a wallet's channels need of a chain: eyes, and somebody who sends money.

`ton_side` has both, where bombyx-ton is installed. Amounts are nano, times unix seconds.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from bombyx.money.channel.closing import CloseTerms
from bombyx.money.channel.identity import Channel


@dataclass(frozen=True, slots=True)
class Looked:
    """A channel's contract; `at` is the chain's own time."""

    deposited: int
    claimed: int
    close_at: int
    closed: bool
    at: int


class ChainSide(Protocol):
    """One network, and one account on it that channels are opened from.

    Every order has a name: one of a known name is carried out once, whatever crashes between. Each
    method returns when the chain shows the effect; they raise `BombyxError`s.
    """

    @property
    def network(self) -> int:
        """TON's global id."""
        ...

    @property
    def account(self) -> bytes:
        """The 32 bytes of the account that sends, a channel's `client`."""
        ...

    async def look(self, channel: Channel) -> Looked | None:
        """The contract, its code and configuration checked; None where none is deployed."""
        ...

    async def history(self, channel: Channel) -> list[dict[str, Any]]:
        """Everything that happened to it, oldest first, as documents with amounts as text."""
        ...

    async def deposit(self, channel: Channel, amount: int, *, order: str) -> None:
        """Bring `amount` more into the channel, and deploy it where it is not."""
        ...

    async def coop_close(
        self, channel: Channel, terms: CloseTerms, signatures: tuple[bytes, bytes], *, order: str
    ) -> None:
        """End it as client and gateway signed, in this order."""
        ...

    async def start_close(self, channel: Channel, *, order: str) -> None:
        """Begin the challenge period."""
        ...

    async def finish_close(self, channel: Channel, *, order: str) -> None:
        """End it when the period is over."""
        ...
