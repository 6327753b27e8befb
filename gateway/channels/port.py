"""What acceptance needs of a chain; `gateway.channels.chain` has it, `--chain none` has none.

A look is final and agreed on by providers; what comes unasked (deposits, claims, closes) goes
straight into `Channels` of `repository`.
"""

from typing import Protocol

from bombyx.money.channel.identity import Channel


class Seen(Protocol):
    """A channel's contract. Totals in nano since it opened; `close_at` is unix seconds or 0."""

    @property
    def deposited(self) -> int:
        """All deposits."""
        ...

    @property
    def claimed(self) -> int:
        """All that was paid to us."""
        ...

    @property
    def close_at(self) -> int:
        """From when on anybody may finish the close."""
        ...

    @property
    def closed(self) -> bool:
        """Whether it is a tombstone."""
        ...


class ChainSide(Protocol):
    """The network, our account there, and eyes."""

    @property
    def network(self) -> int:
        """TON's global id."""
        ...

    @property
    def account(self) -> bytes:
        """The 32 bytes of our wallet's address: who is paid."""
        ...

    async def look(self, channel: Channel) -> Seen | None:
        """The contract as it stands, its code and configuration checked; None: not deployed.

        Raises `BombyxError` where providers do not answer or agree.
        """
        ...
