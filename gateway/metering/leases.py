"""A process's part of an account's money: reserves are taken from it without the database.

A purse is worth what the lease behind it is worth: only while the process is alive by its own
monotonic clock (`safe_until`, taken before the renewal was sent: SPEC 5.5), and only in one epoch.
"""


class Purse:
    """What is free of one account's lease, in nano."""

    __slots__ = ("free", "safe_until")

    def __init__(self, safe_until: float) -> None:
        self.free = 0
        self.safe_until = safe_until

    def shortfall(self, amount: int) -> int:
        """How much is missing for a reserve; 0 when it is covered."""
        return max(0, amount - self.free)

    def reserve(self, amount: int, now: float) -> bool:
        """Take a request's reserve; False when it is not there or the lease may be gone."""
        if amount > self.free or now >= self.safe_until:
            return False
        self.free -= amount
        return True

    def add(self, granted: int) -> None:
        """The lease grew."""
        self.free += granted

    def refund(self, amount: int) -> None:
        """A reserve that was taken is not needed after all."""
        self.free += amount

    def settle(self, reserve: int, charge: int) -> None:
        """A request ended: the lease shrank by the charge, the rest of the reserve is free."""
        self.free += reserve - charge

    def take_all(self) -> int:
        """Empty the purse, to give it back."""
        free, self.free = self.free, 0
        return free
