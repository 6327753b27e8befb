"""A wallet that sends what it was told, once, whatever crashes or gets lost on the way.

`put` keeps an order; each `step` looks at the chain, writes what it shows, and signs or sends
again. The same signed bytes are sent until their `valid_until` is past by the chain's clock; only
then is another message signed, under the same seqno, so that one of them at most is executed.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytoniq_core import Address

from bombyx.errors import SetupError
from ton.chain.errors import ChainUnreachable, NotSeen
from ton.chain.external import normal_hash
from ton.chain.port import BEGINNING, AccountState, ChainClient, Happened
from ton.codec.cells import parse_boc, raw
from ton.errors import MessageNotAccepted
from ton.wallet import evaluation
from ton.wallet.errors import OrderFailed, WalletShort
from ton.wallet.keys import WalletKey, read_key
from ton.wallet.outbox import FINAL, Batch, Order, Outbox, State
from ton.wallet.outgoing import Outgoing
from ton.wallet.sqlite_outbox import SqliteOutbox
from ton.wallet.w5 import MAX_ACTIONS, MAX_BYTES, seqno_of, signed_message, wallet_address

VALID_S: Final = 180
"""How long a signed message is good: many blocks, and a provider's longest lag."""
AGAIN_S: Final = 20
"""The same message is sent once more after so long without an effect."""
KEPT: Final = 20_000_000
"""Nano that stay in the wallet for its own gas and rent."""
FEE: Final = 4_000_000
"""Nano, more than any one payment's share of gas and postage, a channel's state init included."""


def _allowed(_: Happened) -> None:
    """People use their wallets elsewhere too; that costs a turn and no money."""


MAX_QUEUED: Final = 100_000
"""Queued orders that are looked through for those that are not to be sent any more."""
MAX_ATTEMPTS: Final = 100
"""Each costs gas: who failed so often will not succeed."""
_FAILED: Final = frozenset({State.SKIPPED, State.BOUNCED})


@dataclass(frozen=True, slots=True)
class Step:
    """How a step found and left the wallet; `missing` nano keep queued orders from being sent."""

    state: AccountState
    seqno: int
    sent: int = 0
    missing: int = 0


class Wallet:
    """A W5 wallet on one chain with one outbox; one task steps it at a time."""

    def __init__(
        self,
        chain: ChainClient,
        key: WalletKey,
        outbox: Outbox,
        *,
        poll: float = 1.0,
        on_stranger: Callable[[Happened], None] = _allowed,
    ) -> None:
        """`on_stranger` hears of each message that was signed with this key and not by this outbox.

        Where it raises, nothing more is signed: an outbox that is an old copy would pay again.
        """
        self._chain = chain
        self._key = key
        self._outbox = outbox
        self._poll = poll
        self._on_stranger = on_stranger
        self._sent: tuple[bytes, int] = b"", 0
        self.address: Address = wallet_address(key.public_key, network=chain.network)

    @property
    def account(self) -> bytes:
        """The 32 bytes of its address in the basechain."""
        return bytes(self.address.hash_part)

    async def put(self, order_id: str, outgoing: Outgoing) -> Order:
        """Keep an order for the next step; one of a known id changes nothing."""
        return await self._outbox.put(order_id, outgoing)

    async def untried(self, order_id: str) -> str:
        """The order's name, or the next where one of that name came to nothing.

        Raises `OrderFailed` after `MAX_ATTEMPTS` of them.
        """
        for attempt in range(MAX_ATTEMPTS):
            name = f"{order_id} #{attempt}" if attempt else order_id
            known = await self._outbox.get(name)
            if known is None or known.state not in _FAILED:
                return name
        raise OrderFailed(f"{order_id} failed {MAX_ATTEMPTS} times")

    async def withdraw(self, prefix: str, *, but: str) -> None:
        """Forget orders that were never signed, by how their ids begin, except one."""
        for order in await self._outbox.queued(MAX_QUEUED):
            if order.id.startswith(prefix) and order.id != but:
                await self._outbox.withdraw(order.id)

    async def get(self, order_id: str) -> Order | None:
        """What became of an order so far."""
        return await self._outbox.get(order_id)

    async def step(self) -> Step:
        """Look, write down what happened, send on. Raises as `ChainClient.account` does."""
        state = await self._chain.account(self.address)
        seqno = seqno_of(state)
        if await self._catch_up(state, seqno) != seqno:
            return Step(state, seqno)  # the history is newer than what we know: look again
        live = [batch for batch in await self._outbox.batches() if batch.seqno == seqno]
        if live and state.at <= live[-1].valid_until:
            await self._send(live[-1], state.at)
            return Step(state, seqno, sent=len(live[-1].orders))
        if live:
            await self._outbox.expire(live[-1])
        return await self._sign(state, seqno)

    async def settle(self, order_id: str, *, seconds: float) -> Order:
        """Step until an order left the wallet.

        Raises `WalletShort` (it stays queued), `OrderFailed` where the wallet could not send it or
        it bounced, and `NotSeen`.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            step = await self.step()
            order = await self._outbox.get(order_id)
            if order is not None and order.state in FINAL:
                return _sent(order)
            if order is not None and order.state is State.QUEUED and step.missing:
                raise WalletShort(f"the wallet {raw(self.address)} lacks {step.missing} nano")
            if loop.time() >= until:
                raise NotSeen(f"the wallet did not send {order_id} in {seconds:g} s")
            await asyncio.sleep(self._poll)

    async def effect(self, order: Order, *, seconds: float) -> Happened:
        """The receiver's transaction of an order that left; raises `NotSeen`, `OrderFailed`.

        Reads the receiver's whole history: for channels, whose history is short.
        """
        _sent(order)
        loop = asyncio.get_running_loop()
        until, since = loop.time() + seconds, BEGINNING
        while True:
            for one in await self._chain.transactions(order.outgoing.to, since):
                since = one.point
                message = one.transaction.in_message
                if message is not None and bytes(message.hash) == order.message:
                    return one
            if loop.time() >= until:
                raise NotSeen(f"{raw(order.outgoing.to)} shows no effect of {order.id}")
            await asyncio.sleep(self._poll)

    async def _catch_up(self, state: AccountState, seqno: int) -> int:
        """Write what the wallet's own history shows since the last time; the seqno after it."""
        since = await self._outbox.read_until()
        if since is None:
            # Nothing was ever sent from this outbox: what others sent before is no matter of ours.
            await self._outbox.advance(None, state.last, seqno=seqno)
            return seqno
        if since == state.last:
            return seqno
        happened = await self._chain.transactions(self.address, since)
        found = evaluation.executed(happened, await self._outbox.batches())
        if await self._outbox.read_until() != since:
            return -1  # another process reads the same: what it did is not ours to judge
        for one in evaluation.strangers(happened, found):
            self._on_stranger(one)
        done: list[Order] = []
        for one, batch in found:
            done += evaluation.results(one, await self._orders(batch))
        # The history may be newer than the state.
        seqno = max([seqno, *(batch.seqno + 1 for _, batch in found)])
        await self._outbox.advance(
            since,
            happened[-1].point if happened else since,
            seqno=seqno,
            results=done,
            bounced=await self._bounced(happened, done),
        )
        return seqno

    async def accept_strangers(self) -> list[Order]:
        """A person has looked: what happened so far is known, and orders go out again.

        Those that were paid by what we did not sign, to the nano and the bit, are not: they are
        returned. So it is with an older copy of the outbox.
        """
        state = await self._chain.account(self.address)
        since = await self._outbox.read_until()
        batches = await self._outbox.batches()
        waiting = await self._outbox.queued(MAX_QUEUED)
        for batch in batches:
            waiting += await self._orders(batch)
        happened = await self._chain.transactions(self.address, since or BEGINNING)
        found = evaluation.executed(happened, batches)
        done: list[Order] = []
        for one, batch in found:
            # Ours, and executed before anybody could evaluate it: it must not be queued again.
            done += evaluation.results(one, await self._orders(batch))
        settled = {order.id for order in done}
        left = {one.id: one for one in waiting if one.id not in settled}
        strange = evaluation.strangers(happened, found)
        paid = evaluation.paid_elsewhere(strange, list(left.values()))
        to = happened[-1].point if happened else state.last
        seqno = max([seqno_of(state), *(batch.seqno + 1 for _, batch in found)])
        results = [*done, *paid]
        bounced = await self._bounced(happened, results)
        await self._outbox.advance(since, to, seqno=seqno, results=results, bounced=bounced)
        return paid

    async def _orders(self, batch: Batch) -> list[Order]:
        found = [await self._outbox.get(order_id) for order_id in batch.orders]
        return [order for order in found if order is not None]

    async def _bounced(self, happened: Sequence[Happened], done: Sequence[Order]) -> set[str]:
        back: set[str] = set()
        for bounce in evaluation.bounces(happened):
            known = await self._outbox.sent_to(bounce.account)
            fresh = [order for order in done if order.state is State.SENT]
            sent = [order for order in (*known, *fresh) if order.id not in back]
            order = evaluation.came_back(bounce, sent)
            if order is not None:
                back.add(order.id)
        return back

    async def _sign(self, state: AccountState, seqno: int) -> Step:
        """Sign what is queued, as far as the money goes, keep that, and send it."""
        queued = await self._outbox.queued(MAX_ACTIONS)
        chosen, missing = _affordable(queued, state.balance)
        if not chosen:
            return Step(state, seqno, missing=missing)
        batch = self._batch(chosen, seqno, state.at + VALID_S)
        if not await self._outbox.sign(batch):
            return Step(state, seqno)  # another process was first
        await self._send(batch, state.at)
        return Step(state, seqno, sent=len(batch.orders), missing=missing)

    def _batch(self, orders: Sequence[Order], seqno: int, valid_until: int) -> Batch:
        """As many of these as fit a message."""
        while True:
            message = signed_message(
                self._key,
                [order.outgoing for order in orders],
                network=self._chain.network,
                seqno=seqno,
                valid_until=valid_until,
            )
            boc = bytes(message.to_boc())
            if len(boc) <= MAX_BYTES or len(orders) == 1:
                ids = tuple(order.id for order in orders)
                return Batch(normal_hash(message), seqno, valid_until, ids, boc)
            orders = orders[: max(1, len(orders) * MAX_BYTES // len(boc))]

    async def _send(self, batch: Batch, now: int) -> None:
        """Send these bytes, unless that was a moment ago; what becomes of them the chain says."""
        hash_, at = self._sent
        if hash_ == batch.hash and now < at + AGAIN_S:
            return
        self._sent = batch.hash, now
        try:
            await self._chain.send(parse_boc(batch.boc))
        except (MessageNotAccepted, ChainUnreachable):
            # Executed a moment ago, or nobody took it: the next step sees which.
            return


def _affordable(queued: Sequence[Order], balance: int) -> tuple[list[Order], int]:
    """The orders that the balance covers, and what the first of the others lacks."""
    left, chosen, missing = balance - KEPT, [], 0
    for order in queued:
        cost = order.outgoing.value + FEE
        if cost <= left:
            left -= cost
            chosen.append(order)
        else:
            missing = missing or cost - left
    return chosen, missing


def _sent(order: Order) -> Order:
    if order.state is not State.SENT:
        raise OrderFailed(f"{order.id} was {order.state}")
    return order


@contextmanager
def open_wallet(
    chain: ChainClient, key_file: Path, folder: Path, *, poll: float = 1.0
) -> Iterator[Wallet]:
    """The wallet of a key file, its outbox in `folder`.

    Raises `WalletKeyRefused`, `SetupError` where the folder cannot be made, and `WalletBusy` where
    another process has it open.
    """
    key = read_key(key_file)
    address = wallet_address(key.public_key, network=chain.network)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"{folder} cannot be a wallet's outbox: {error.strerror}") from None
    name = f"outbox-{chain.network}-{bytes(address.hash_part).hex()[:16]}.db"
    outbox = SqliteOutbox(folder / name, source=address)
    try:
        yield Wallet(chain, key, outbox, poll=poll)
    finally:
        outbox.close()
