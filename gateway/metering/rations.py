"""What keys may still use in this process, filled from allowances as purses are from leases.

A key without limits never comes here. One with limits costs a look-up and a few comparisons while
its allowance lasts; the database is asked when it does not, once for all who wait (SPEC 5.7).
"""

import asyncio
from collections.abc import Sequence

from bombyx.errors import BombyxError, InsufficientQuota, Overloaded, RateLimited
from gateway.metering.clock import Clock
from gateway.metering.membership import Membership, Timing
from gateway.metering.port import Allowances
from gateway.metering.purses import MAX_EPOCHS
from gateway.metering.rationing import NANO, REQUESTS, SLOTS, TOKENS
from gateway.metering.rows import KINDS, Amounts, Fenced, KeyLimits, Rationed

SHORT_S = 0.5
"""How long a refusal of slots or budget answers for others: a flood must not ask for each."""
SLOT_RETRY_MS = 1000


class Ration:
    """One key in this process: what is free of each of `KINDS`, and until when."""

    __slots__ = (
        "_clock",
        "asking",
        "denied",
        "epoch",
        "free",
        "key",
        "left",
        "limits",
        "recalled",
        "term",
        "until",
    )

    def __init__(self, key: str, limits: KeyLimits, clock: Clock) -> None:
        self._clock = clock
        self.key = key
        self.limits = limits
        self.free = [0, 0, 0, 0]
        self.left: Sequence[int] = (0, 0, 0, 0)
        self.term = 0
        self.until = 0.0
        self.epoch = 0
        self.recalled = False
        self.denied: dict[int, tuple[float, int]] = {}
        """By kind: until when, and from which need on."""
        self.asking = asyncio.Lock()

    def mask(self, needs: Amounts) -> Amounts:
        """Only what is limited."""
        of = self.limits
        return (
            0 if of.requests is None else needs[0],
            0 if of.tokens is None else needs[1],
            0 if of.slots is None else needs[2],
            0 if of.nano is None else needs[3],
        )

    def missing(self, needs: Amounts, now: float) -> Amounts:
        """What must be granted for it."""
        rates = self.free if now < self.until else (0, 0)
        free = self.free
        return (
            max(0, needs[0] - rates[0]),
            max(0, needs[1] - rates[1]),
            max(0, needs[2] - free[2]) if needs[2] else 0,
            max(0, needs[3] - free[3]),
        )

    def enter_epoch(self, epoch: int) -> None:
        """What was held ended with the older epoch; what still runs the database counts."""
        if epoch != self.epoch:
            self.epoch = epoch
            self.free[SLOTS] = self.free[NANO] = 0

    def take(self, needs: Amounts) -> None:
        """It is covered."""
        for kind, need in enumerate(needs):
            self.free[kind] -= need

    def add(self, answer: Rationed, until: float) -> None:
        """The database's answer, whether or not it granted."""
        if answer.term != self.term:
            self.term = answer.term
            self.free[REQUESTS] = self.free[TOKENS] = 0
            self.denied.pop(REQUESTS, None)
            self.denied.pop(TOKENS, None)
        self.until = until
        self.left = answer.left
        for kind, amount in enumerate(answer.granted or ()):
            self.free[kind] += amount

    def headers(self) -> bytes:
        """OpenAI's headers for the limits that the key has; each line with its end."""
        now = self._clock.monotonic()
        ends = max(0.0, self.until - now)
        out = b""
        for kind, name in ((REQUESTS, b"requests"), (TOKENS, b"tokens")):
            limit = self.limits.requests if kind == REQUESTS else self.limits.tokens
            if limit is None:
                continue
            # Of a minute that was not asked about nothing is known to be used.
            rest = max(0, self.left[kind] + self.free[kind]) if ends else limit
            out += (
                b"x-ratelimit-limit-%b: %d\r\nx-ratelimit-remaining-%b: %d\r\n"
                b"x-ratelimit-reset-%b: %b\r\n"
                % (name, limit, name, min(rest, limit), name, _duration(ends))
            )
        return out


class Grip:
    """Tokens and nano taken for one claim; settled once by what was signed."""

    __slots__ = ("_entered", "epoch", "nano", "ration", "term", "tokens")

    def __init__(self, ration: Ration, needs: Amounts, *, entered: int | None) -> None:
        self._entered = entered
        """The epoch of the slot that the request holds, if it holds one."""
        self.ration = ration
        self.epoch = ration.epoch
        self.term = ration.term
        self.tokens = needs[TOKENS]
        self.nano = needs[NANO]

    @property
    def rationed(self) -> bool:
        """Whether the claim's reserve was taken out of a budget."""
        return self.nano > 0

    def holds_in(self, epoch: int) -> bool:
        """Whether slot and budget were lent for this epoch: older loans went to others."""
        if self._entered is not None and self._entered != epoch:
            return False
        return not self.rationed or self.epoch == epoch

    def settle(self, charge: int, tokens: int | None) -> None:
        """Give back what was not used; None where the counts are not known here."""
        ration = self.ration
        if self.nano and ration.epoch == self.epoch:
            ration.free[NANO] += self.nano - charge
        if tokens is not None and ration.term == self.term:
            ration.free[TOKENS] += max(0, self.tokens - tokens)

    def cancel(self) -> None:
        """The claim was never made."""
        self.settle(0, 0)


class Entry:
    """One request of a limited key, from its admission to its end."""

    __slots__ = ("_epoch", "_left", "_rations", "_slot", "ration")

    def __init__(self, rations: "Rations", ration: Ration, needs: Amounts) -> None:
        self._rations = rations
        self.ration = ration
        self._slot = needs[SLOTS]
        self._epoch = ration.epoch
        self._left = False

    async def reserve(self, *, tokens: int, nano: int) -> Grip:
        """Before a claim: the most that it may use. Raises as `Rations.enter` does."""
        needs = self.ration.mask((0, tokens, 0, nano))
        await self._rations.acquire(self.ration, needs)
        return Grip(self.ration, needs, entered=self._epoch if self._slot else None)

    def leave(self) -> None:
        """The request is over; once."""
        if not self._left:
            self._left = True
            if self.ration.epoch == self._epoch:
                self.ration.free[SLOTS] += self._slot


class Rations:
    """All limited keys of this process."""

    def __init__(
        self, store: Allowances, membership: Membership, *, clock: Clock, timing: Timing
    ) -> None:
        self._store = store
        self._membership = membership
        self._clock = clock
        self._timing = timing
        self._rations: dict[str, Ration] = {}

    def of(self, key: str, limits: KeyLimits) -> Ration:
        """A key's ration, with the limits that it has now."""
        ration = self._rations.get(key)
        if ration is None:
            ration = self._rations[key] = Ration(key, limits, self._clock)
        elif ration.limits != limits:
            # The database decides by the new ones from the next grant on.
            ration.limits, ration.recalled = limits, True
        return ration

    async def enter(self, ration: Ration) -> Entry:
        """Admit one request. Raises `RateLimited`, `InsufficientQuota` (as 429) or `StoreBusy`."""
        needs = ration.mask((1, 0, 1, 0))
        await self.acquire(ration, needs)
        return Entry(self, ration, needs)

    async def acquire(self, ration: Ration, needs: Amounts) -> None:
        """Take `needs`; at once where it is covered."""
        if not self._take(ration, needs):
            async with ration.asking:
                await self._fill(ration, needs)

    def _take(self, ration: Ration, needs: Amounts) -> bool:
        now = self._clock.monotonic()
        if ration.epoch != self._membership.epoch or now >= self._membership.safe_until:
            return False
        if any(ration.missing(needs, now)):
            return False
        ration.take(needs)
        return True

    async def _fill(self, ration: Ration, needs: Amounts) -> None:
        waits = iter(self._timing.recall_waits_s)
        fenced = 0
        while fenced < MAX_EPOCHS:
            epoch = await self._membership.ensure()
            ration.enter_epoch(epoch)
            if self._take(ration, needs):
                return
            self._repeat_denial(ration, needs)
            before = self._clock.monotonic()
            answer = await self._store.ration(
                ration.key,
                self._membership.slot,
                epoch=epoch,
                needs=ration.missing(needs, before),
                processes=self._membership.processes,
            )
            if isinstance(answer, Fenced):
                fenced += 1
                await self._membership.replace(epoch)
                continue
            missing = ration.missing(needs, before) if answer.granted is None else (0, 0, 0, 0)
            ration.add(answer, before + answer.ends_in_ms / 1000)
            if answer.granted is None:
                await self._wait_or_deny(ration, needs, answer, missing, next(waits, None))
        raise Overloaded("this gateway lost its leases; try again")

    async def _wait_or_deny(
        self,
        ration: Ration,
        needs: Amounts,
        answer: Rationed,
        missing: Amounts,
        wait: float | None,
    ) -> None:
        """Others return what is free within 500 ms; what even that cannot cover is refused."""
        short = [k for k in range(len(KINDS)) if missing[k] > answer.left[k] and needs[k]]
        hopeless = any(missing[k] > answer.left[k] + answer.elsewhere[k] for k in short)
        if wait is not None and not hopeless:
            await asyncio.sleep(wait)
            return
        now = self._clock.monotonic()
        for kind in short:
            until = ration.until if kind in {REQUESTS, TOKENS} else now + SHORT_S
            ration.denied[kind] = until, needs[kind]
        self._repeat_denial(ration, needs)

    def _repeat_denial(self, ration: Ration, needs: Amounts) -> None:
        """Raises what a request as large as this was told a moment ago."""
        now = self._clock.monotonic()
        missing = ration.missing(needs, now)
        for kind, (until, need) in list(ration.denied.items()):
            if now >= until:
                del ration.denied[kind]
            elif missing[kind] and needs[kind] >= need:
                raise _refusal(ration, kind, needs[kind], seconds=until - now)

    async def honour_recalls(self) -> None:
        """Return what is free of keys that other processes run short of."""
        holding = [one for one in self._rations.values() if any(free > 0 for free in one.free)]
        if not holding:
            return
        slot = self._membership.slot
        asked = set(await self._store.key_recalls(slot))
        for ration in holding:
            if ration.key in asked or ration.recalled:
                ration.recalled = False
                await self._return(ration, slot)

    async def _return(self, ration: Ration, slot: int) -> None:
        # Out of the ration first: if a call fails it is idle, never used twice.
        free, term, epoch = list(ration.free), ration.term, ration.epoch
        live = self._clock.monotonic() < ration.until
        held = epoch == self._membership.epoch
        for kind, amount in enumerate(free):
            rate = kind in {REQUESTS, TOKENS}
            if amount <= 0 or not (live if rate else held):
                continue
            ration.free[kind] -= amount
            await self._store.return_allowance(
                ration.key,
                slot,
                kind=KINDS[kind],
                term=term if rate else epoch,
                amount=amount,
            )


def _refusal(ration: Ration, kind: int, need: int, *, seconds: float) -> BombyxError:
    of = ration.limits
    wait = max(1, int(seconds * 1000))
    if kind == REQUESTS:
        return RateLimited(
            f"this key may make {of.requests} requests a minute", retry_after_ms=wait
        )
    if kind == TOKENS:
        error = RateLimited(
            f"the request may use {need} tokens; this key may use {of.tokens} a minute",
            retry_after_ms=wait,
        )
        if of.tokens is not None and need > of.tokens:
            return _final(error)
        return error
    if kind == SLOTS:
        return RateLimited(
            f"this key may have {of.slots} requests at once", retry_after_ms=SLOT_RETRY_MS
        )
    return over_budget(
        f"the request may cost {need} nano, more than is left of this key's monthly budget"
    )


def over_budget(message: str) -> InsufficientQuota:
    """429 as OpenAI answers an exhausted quota; 402 is of accounts, which money can cure."""
    error = InsufficientQuota(message)
    error.status = 429  # type: ignore[misc]  # of this answer, not of the class
    return error


def _final(error: RateLimited) -> RateLimited:
    """No wait helps: SDKs must not try again."""
    error.should_retry = False  # type: ignore[misc]
    error.retry_after_ms = None
    return error


def _duration(seconds: float) -> bytes:
    """As OpenAI writes it: `350ms`, `12s`."""
    if seconds < 1:
        return b"%dms" % int(seconds * 1000)
    return b"%ds" % -(-int(seconds * 1000) // 1000)
