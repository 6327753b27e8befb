"""One channel as a session pays from it: the pure rules, applied to books that are on disk.

Shared by threads and event loops; nothing here waits. A change gives a `Saving` to wait for before
anything leaves (SPEC 7.9).
"""

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from bombyx import canonical
from bombyx.client.channel.asked import asked_of, encode_asked, place, read_asked, verify_late
from bombyx.client.channel.marks import UNREGISTERED
from bombyx.client.channel.store import ChannelStore, Saving
from bombyx.client.receipts import Sealed
from bombyx.errors import (
    BadReceipt,
    ChannelClosing,
    ChannelHalted,
    DepositTooLow,
    GatewayLied,
    PaymentRefused,
    ProofRefused,
    TermsRefused,
    UnprovenCharges,
)
from bombyx.money.channel import spending
from bombyx.money.channel.spending import Caps, Purse
from bombyx.money.channel.terms import PaymentTerms, check_refusal, network_text
from bombyx.money.statement import Statement

REMEMBERED = 4096
"""Requests whose receipt was counted and whose bytes a session may send again (SPEC 14.1)."""
ASK_AGAIN_S = 10
"""So long after it found no receipt, the gateway is not asked again before it is due."""
HEADER = "x-bombyx-voucher"
SETTLES_WITHIN_S = 2
"""A worker proves what it signed within a second, and the gateway settles at once after that."""


class Payer:
    """Signs vouchers of one channel, within `caps`; `clock` gives unix seconds."""

    def __init__(self, store: ChannelStore, caps: Caps, *, clock: Callable[[], int]) -> None:
        self.store = store
        self.caps = caps
        self._clock = clock
        self._lock = threading.RLock()
        self._purse: Purse = store.saved
        self._taken = 0
        self._voucher = (0, "")
        self._running: Counter[bytes] = Counter()
        # What an earlier life left in flight may have been sent.
        self._doubts = Counter([*self._purse.inflight, *self._purse.lapsed])
        self._refused: set[bytes] = set()
        self._settled: OrderedDict[bytes, None] = OrderedDict()
        self._asked_at: dict[bytes, int] = {}
        self._freed: deque[tuple[int, int]] = deque()
        """Until when, and how much, a gateway may not know to be free; `_lag` in all."""
        self._lag = 0
        self.users = 0
        """Of this process; counted by who shares it."""
        self._change(spending.forget(self._purse, now=clock()))

    def __repr__(self) -> str:
        return f"Payer({self.name})"

    @property
    def name(self) -> str:
        """What a sealed header calls the channel."""
        return f"{network_text(self.store.channel.network)}:{self.store.name}"

    @property
    def purse(self) -> Purse:
        """The books, which may be ahead of the disk."""
        return self._purse

    @property
    def is_closed(self) -> bool:
        """Whether the channel was given back, so that nothing can be paid by this object."""
        return self.store.is_closed

    def now(self) -> int:
        """Unix seconds by our own clock."""
        return self._clock()

    def check_usable(self) -> None:
        """Raises `ChannelHalted` after a lie, with the way out."""
        if self._purse.alarm:
            raise ChannelHalted(self._way_out(f"this channel's gateway lied ({self._purse.alarm})"))

    def spend(self, sealed: Sealed) -> Saving | None:
        """Put a request in flight; wait for what is given. None if it is there, or was answered.

        Raises as `spending.spend` does.
        """
        c, header = sealed.request.c, sealed.request.header.header
        with self._lock:
            self.check_usable()
            if c in self._settled:
                return None
            after, _ = spending.spend(
                self._purse,
                self.caps,
                c=c,
                cost=int(header.max_cost_nano),
                deadline=sealed.deadline,
                now=self._clock(),
                lag=self._lagging(),
            )
            if after is self._purse:
                return None
            self.store.beside(place(c), lambda: encode_asked(asked_of(sealed)))
            return self._change(after)

    def voucher(self, *, anyway: bool = False) -> tuple[int, str]:
        """The highest ceiling on disk, and its header where the gateway may not have it yet.

        `anyway` after it refused: what others heard of it meanwhile is not to be relied on.
        """
        with self._lock:
            saved = self.store.saved
            if saved.signed_max <= self._taken and not anyway:
                return saved.signed_max, ""
            if self._voucher[0] != saved.signed_max:
                signed = spending.voucher(saved, self.store.channel, self.store.signer)
                self._voucher = (saved.signed_max, canonical.encode(signed).decode("ascii"))
            return self._voucher

    def taken(self, amount: int) -> None:
        """The gateway took a request with this ceiling: it needs no copy of it any more."""
        self._taken = max(self._taken, amount)

    def introduced(self) -> None:
        """The gateway knows this channel now: nothing is left of its opening."""
        self.store.beside(UNREGISTERED, None)

    def prove(self, statement: Statement) -> None:
        """A verified receipt; one that was counted, or is not of this channel, changes nothing."""
        with self._lock, suppress(ProofRefused):
            flight = self._purse.inflight.get(bytes.fromhex(statement.c))
            self._change(
                spending.prove(
                    self._purse,
                    statement,
                    payer=self.store.record.payer,
                    gateway=self.store.record.identity,
                    now=self._clock(),
                )
            )
            self._forget(bytes.fromhex(statement.c))
            if flight is not None:
                freed = flight.cost - int(statement.charge_nano)
                self._freed.append((self._clock() + SETTLES_WITHIN_S, freed))
                self._lag += freed

    def _lagging(self) -> int:
        """What the gateway may still hold of requests that we have receipts for (SPEC 7.9)."""
        now = self._clock()
        while self._freed and self._freed[0][0] < now:
            self._lag -= self._freed.popleft()[1]
        return self._lag

    def never_ran(self, c: bytes) -> None:
        """It is proven that nothing is billed for it (SPEC 14.3)."""
        with self._lock:
            self._change(spending.never_ran(self._purse, c))
            self._forget(c)

    def began(self, c: bytes) -> None:
        """An exchange over this request begins; it is `ended` once."""
        with self._lock:
            self._running[c] += 1

    def leaves(self, c: bytes) -> None:
        """The request is about to be sent: from now on it may run, and be billed."""
        with self._lock:
            self._doubts[c] += 1

    def stayed(self, c: bytes) -> None:
        """Not one byte of that sending has left."""
        with self._lock:
            _less(self._doubts, c)

    def turned_away(self, c: bytes) -> None:
        """The gateway answered that sending by a refusal of before its claim."""
        with self._lock:
            _less(self._doubts, c)
            self._refused.add(c)

    def ended(self, c: bytes) -> None:
        """An exchange over this request is over; with the last one its headroom may be free.

        What no gateway can have seen is dropped. What was turned away each time that it was sent
        lapses, since that is the gateway's word alone. All else stays in flight (SPEC 7.9).
        """
        with self._lock:
            _less(self._running, c)
            if self._running[c]:
                return
            if c in self._purse.inflight:
                self._free(c)
            elif c not in self._purse.lapsed:
                self._let_go(c)

    def _free(self, c: bytes) -> None:
        if self._doubts[c]:
            return
        if c in self._refused:
            self._change(spending.lapse(self._purse, c))
        else:
            self._change(spending.never_ran(self._purse, c))
            self.store.beside(place(c), None)

    def refused(self, sealed: Sealed, terms: PaymentTerms) -> Saving:
        """Answer a 402 (SPEC 7.9): wait, then send the same bytes again with `voucher`.

        Raises `GatewayLied` (the channel is halted), `UnprovenCharges` (ask for the receipts of
        `purse.lapsed`, then try once more), and other errors that end the request: it lapses.
        """
        c = sealed.request.c
        cost = int(sealed.request.header.header.max_cost_nano)
        with self._lock:
            try:
                said = check_refusal(terms, self.store.channel, cost=cost)
                after = spending.refused(self._purse, self.caps, said, c=c)
            except GatewayLied as error:
                self._change(spending.halted(self._purse, error.code))
                raise GatewayLied(self._way_out(error.message)) from None
            except ChannelClosing:
                self._change(spending.closing(spending.lapse(self._purse, c)))
                raise
            except (PaymentRefused, TermsRefused):
                self._change(spending.lapse(self._purse, c))
                raise
            # It has just said that it lacks our voucher, whatever it took before.
            self._taken = 0
            return self._change(after)

    def refused_after_receipts(self, sealed: Sealed, terms: PaymentTerms) -> Saving:
        """`refused` once more: charges that no receipt explained end the request."""
        try:
            return self.refused(sealed, terms)
        except UnprovenCharges:
            self.give_up(sealed.request.c)
            raise

    def is_settling(self, sealed: Sealed, terms: PaymentTerms) -> bool:
        """Whether the gateway only reserves yet for what we hold receipts of (SPEC 7.9)."""
        cost = int(sealed.request.header.header.max_cost_nano)
        with self._lock, suppress(GatewayLied, TermsRefused):
            said = check_refusal(terms, self.store.channel, cost=cost)
            return spending.is_settling(self._purse, said)
        return False

    def refused_again(self, sealed: Sealed, terms: PaymentTerms) -> None:
        """Another 402 ends the request; raises what `refused` does, and signs nothing."""
        try:
            self.refused(sealed, terms)
        except PaymentRefused:
            if terms.error == DepositTooLow.code:
                raise self.unfunded(sealed.request.c) from None
            raise

    def unfunded(self, c: bytes) -> DepositTooLow:
        """The gateway still does not see the deposit: the request lapses; what to raise."""
        self.give_up(c)
        return DepositTooLow(
            "the gateway does not see enough of a deposit in this channel: wait for the chain, or "
            f"`bombyx channel topup {self.store.name}`"
        )

    def give_up(self, c: bytes) -> None:
        """The gateway refused a request: it lapses, and a receipt that comes yet still counts."""
        with self._lock:
            self._change(spending.lapse(self._purse, c))

    def mark_corrected(self, c: bytes) -> Saving:
        """This 402 is answered now: another one for the same request is the end."""
        with self._lock:
            inflight = {
                key: replace(flight, corrected=flight.corrected or key == c)
                for key, flight in self._purse.inflight.items()
            }
            return self._change(replace(self._purse, inflight=inflight))

    def overdue(self, limit: int) -> list[bytes]:
        """Requests whose receipts are due, at most so many; each is named once."""
        with self._lock:
            due = spending.overdue(self._purse, now=self._clock())
            return self._unasked(due, limit)

    def strays(self, limit: int) -> list[bytes]:
        """Requests in flight that nobody waits for any more: a receipt frees their headroom."""
        with self._lock:
            return self._unasked(self.abandoned(), limit)

    def abandoned(self) -> list[bytes]:
        """All requests in flight that nobody waits for: of a process that died, or given up."""
        with self._lock:
            return [c for c in self._purse.inflight if c not in self._running]

    def lapsed(self, limit: int) -> list[bytes]:
        """Requests given up, for which a receipt may yet come."""
        with self._lock:
            return list(self._purse.lapsed)[:limit]

    def late(self, c: bytes, document: bytes | None) -> bool:
        """What the gateway said when asked for a receipt, None for nothing; whether it counted.

        Without one a request lapses once its deadline is over.
        """
        with self._lock:
            asked = None if document is None else read_asked(self.store.folder, c)
            if document is not None and asked is not None:
                with suppress(BadReceipt):
                    self.prove(verify_late(asked, document))
            known = self._purse.inflight.get(c)
            if known is not None and known.deadline < self._clock():
                self._change(spending.lapse(self._purse, c))
            return c not in self._purse.inflight and c not in self._purse.lapsed

    def change(self, rule: Callable[[Purse], Purse]) -> Saving:
        """Apply a rule that concerns no request, such as a deposit that was seen."""
        with self._lock:
            return self._change(rule(self._purse), always=True)

    def close(self) -> None:
        """Give the channel back, with all that is known on disk."""
        self.store.close()

    def _unasked(self, due: list[bytes], limit: int) -> list[bytes]:
        now = self._clock()
        for c in [c for c, at in self._asked_at.items() if at + ASK_AGAIN_S <= now]:
            del self._asked_at[c]
        chosen = [c for c in due if c not in self._asked_at][:limit]
        self._asked_at.update(dict.fromkeys(chosen, now))
        return chosen

    def _change(self, after: Purse, *, always: bool = False) -> Saving:
        if after is self._purse and not always:
            done = Saving()
            done.finish(self.store.saved)
            return done
        self._purse = after
        return self.store.save(after)

    def _forget(self, c: bytes) -> None:
        """It is counted, once and for all."""
        self._settled[c] = None
        self._let_go(c)
        while len(self._settled) > REMEMBERED:
            self._settled.popitem(last=False)
        self.store.beside(place(c), None)

    def _let_go(self, c: bytes) -> None:
        """How it was sent matters no more."""
        self._refused.discard(c)
        del self._doubts[c]

    def _way_out(self, why: str) -> str:
        return (
            f"{why}: nothing more is signed for it. "
            f"`bombyx channel close {self.store.name} --alone` takes back what was not signed away"
        )


def _less(counted: Counter[bytes], c: bytes) -> None:
    """One less, and nothing kept of what is none."""
    counted[c] -= 1
    if counted[c] <= 0:
        del counted[c]
