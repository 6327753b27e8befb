"""Prepaid money on the chain, as routes see it; `gateway.channels.chain` has it, or nobody does."""

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from gateway.channels.rows import StoredChannel

Ordered: TypeAlias = Literal["ordered", "under_way", "nothing"]
"""What came of asking for a claim or close: a new order, one that is there already, or neither,
since all that was charged is claimed."""


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Nano on their way out. `to` is `workchain:hex`; `transaction` the hash in hex once sent.

    `state` is queued, signed, sent, skipped (tried again) or bounced.
    """

    txn: str
    to: str
    amount: int
    state: str
    transaction: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that a person must look at: its word, what it is about, and a sentence."""

    word: str
    subject: str
    reason: str


class Watch(Protocol):
    """The chain's loop, as far as administrators are concerned."""

    def troubles(self) -> list[Trouble]:
        """What lasts; known to the process that watches, which is the one with the lowest slot."""
        ...

    async def claim_channel(self, channel: str, *, actor: str) -> Ordered:
        """Claim what a channel was charged, however little that is; again: nothing new.

        What the chain refused too often is tried anew. Raises `ChannelNotFound`, `ChannelClosed`,
        `ChannelRolledBack`.
        """
        ...

    async def close_channel(self, channel: str, *, actor: str) -> Ordered:
        """End a channel with a last claim, for an administrator; again: nothing new.

        Its client cannot take that back; with `CloseInFlight` it ends as soon as nothing runs. What
        the chain refused too often is tried anew. Raises `ChannelNotFound`, `ChannelClosed`,
        `ChannelRolledBack`, `CloseInFlight`, and `CloseNotAsked` where no voucher is there to end
        it by.
        """
        ...

    async def resume_channel(self, channel: str, *, actor: str) -> StoredChannel:
        """A person has looked at a channel that was paid more than it charged: serve it again.

        Where nothing is halted, nothing changes. Raises `ChannelNotFound`, `ChannelClosed`,
        `CloseInFlight` while something of it runs or may come back, and `ChannelRolledBack` where
        the chain shows no voucher for what it paid.
        """
        ...

    async def pay_owner(self, owner: str, *, actor: str) -> None:
        """Open a payout channel to an owner of workers, however little is owed; again: nothing new.

        Raises `NotFound` for an owner whom no channel can pay, and `DepositCap`.
        """
        ...

    async def resume(self, *, actor: str) -> None:
        """A person has looked at what the wallet sent without us: send on."""
        ...


class Treasury(Protocol):
    """The gateway's wallet, as far as accounts are concerned."""

    @property
    def network(self) -> int:
        """TON's global id."""
        ...

    @property
    def place(self) -> str:
        """The wallet's address, `workchain:hex`: where deposits go."""
        ...

    async def withdraw(
        self, account: str, *, to: str, amount: int, txn: str, actor: str
    ) -> Withdrawal:
        """Send an account's nano to any address; again with the same `txn`: nothing new.

        Raises `RequestError`, `NotFound`, `IdempotencyConflict`, `InsufficientQuota`.
        """
        ...

    async def withdraw_to_payer(
        self, account: str, *, to: str, amount: int, txn: str, actor: str
    ) -> Withdrawal:
        """The same, of what was deposited from this very address and not withdrawn to it yet.

        Raises `Forbidden` for more.
        """
        ...

    async def withdrawal(self, account: str, txn: str) -> Withdrawal:
        """One of an account's; raises `NotFound`."""
        ...
