"""Random messages to a channel: half of them good, the others wrong in one way at a time."""

from dataclasses import dataclass, field, replace
from random import Random

from nacl.signing import SigningKey
from pytoniq_core import Address, Cell, begin_cell

from tests.ton.channel import (
    CLIENT,
    CLIENT_KEY,
    GATEWAY,
    GATEWAY_KEY,
    GRAM,
    OTHER_KEY,
    STRANGER,
    Channel,
    wallet,
)
from tests.ton.model import ANY_REFUSAL, OK, QUERY, Move, Signed
from ton.codec.cells import Writer
from ton.codec.constants import CLOSED, MIN_TOP_UP, OPEN, RENT_RESERVE, Err, Gas, Op
from ton.codec.signed import CloseTerms, Voucher
from ton.codec.storage import ChannelState
from ton.tvm.network import MAINNET, TESTNET

PLENTY = GRAM // 20
NAMES = (
    *("top_up",) * 5, *("claim",) * 9, *("gateway_close",) * 2, *("coop_close",) * 3,
    *("start_close",) * 2, *("finish_close",) * 2, "junk",
)  # fmt: skip


@dataclass(slots=True)
class Moves:
    """Draws moves for one channel; remembers what was signed, so that old vouchers come back."""

    rnd: Random
    channel: Channel
    vouchers: list[Signed] = field(default_factory=list)
    ceiling: int = 0
    """The most that client or both parties ever signed."""

    def draw(self, state: ChannelState, own: int) -> Move:
        """One move; `own` is the channel's balance."""
        closing = state.close_at not in (OPEN, CLOSED)
        name = self.rnd.choice((*NAMES, *("finish_close",) * 6) if closing else NAMES)
        if name == "junk":
            return self._junk()
        draws = {
            "top_up": self._top_up,
            "claim": self._claiming,
            "gateway_close": self._claiming,
            "coop_close": self._coop_close,
            "start_close": self._bare,
            "finish_close": self._bare,
        }
        return draws[name](name, state, own)

    def opening(self, amount: int | None = None) -> Move:
        """The first top-up, with the state init."""
        if amount is None:
            amount = self.rnd.choice((MIN_TOP_UP, GRAM, self.rnd.randint(MIN_TOP_UP, 9 * GRAM)))
        return Move(
            "top_up", CLIENT, amount + RENT_RESERVE + PLENTY, _top_up(amount), amount,
            init=self.channel.init,
        )  # fmt: skip

    def whole(self, state: ChannelState) -> Move:
        """A good claim of the whole deposit."""
        signed = self._sign(state.deposited, CLIENT_KEY, remember=True)
        writer = Writer().uint(Op.CLAIM, 32).uint(QUERY, 64).coins(signed.amount)
        body = writer.octets(signed.signature, 64).ref(signed.cell).cell()
        return Move("claim", GATEWAY, PLENTY, body, signed.amount, signed)

    def _value(self, gas: Gas, *, beside: int = 0, messages: int = 1, plenty: int = 7) -> int:
        """Mostly plenty; else at the edge of what is needed, or almost nothing."""
        prices = self.channel.prices
        needed = beside + prices.gas_fee(gas) + messages * prices.forward_fee()
        edge = self.rnd.choice((needed, needed - 1, needed - 1))
        tiny = self.rnd.randint(0, needed // 2)
        return self.rnd.choice((*(beside + PLENTY,) * plenty, edge, edge, tiny))

    def _sender(self, right: Address) -> Address:
        return self.rnd.choice((*(right,) * 8, CLIENT, GATEWAY, STRANGER))

    def _init(self) -> Cell | None:
        return self.rnd.choice((None, None, None, self.channel.init))

    def _bounces(self) -> bool:
        return self.rnd.random() > 0.1

    def _top_up(self, name: str, state: ChannelState, own: int) -> Move:
        rnd = self.rnd
        amount = rnd.choice(
            (rnd.randint(MIN_TOP_UP, 3 * GRAM), GRAM, MIN_TOP_UP, MIN_TOP_UP - 1, 0, 2**120 - 1)
        )
        rent = max(0, state.deposited - state.claimed + RENT_RESERVE - own)
        value = self._value(Gas.TOP_UP, beside=min(amount, 2**100) + rent)
        source = rnd.choice((CLIENT, CLIENT, GATEWAY, STRANGER))
        return Move(
            name, source, value, _top_up(amount), amount, bounce=self._bounces(), init=self._init()
        )

    def _claiming(self, name: str, state: ChannelState, _own: int) -> Move:
        rnd = self.rnd
        signed = self._voucher(state)
        amount = rnd.choice(
            (
                *(signed.amount,) * 4, signed.amount + 1, state.claimed, state.claimed + 1,
                state.deposited, state.deposited + 1, rnd.randint(0, signed.amount), 2**120 - 1,
                max(0, state.claimed - 1),
            )
        )  # fmt: skip
        op, gas = (Op.CLAIM, Gas.CLAIM)
        if name == "gateway_close":
            op, gas = (Op.GATEWAY_CLOSE, Gas.GATEWAY_CLOSE)
            # Few come, since each may end its channel: half of them below what was claimed.
            amount = rnd.choice((amount, max(0, state.claimed - 1)))
        writer = Writer().uint(op, 32).uint(QUERY, 64).coins(amount)
        body = writer.octets(signed.signature, 64).ref(signed.cell).cell()
        return Move(
            name, self._sender(GATEWAY), self._value(gas), body, amount, signed, self._bounces(),
            self._init(),
        )  # fmt: skip

    def _voucher(self, state: ChannelState) -> Signed:
        """A new voucher, one of before, or one with a fault."""
        rnd = self.rnd
        kind = rnd.choice((*("new",) * 5, *("old",) * 3, "bent", "fault"))
        if kind == "old" and self.vouchers:
            return self._again(rnd.choice(self.vouchers))
        amount = state.claimed + rnd.choice(
            (1, 0, GRAM // 10, rnd.randint(1, GRAM), rnd.randint(0, 2 * state.deposited + 1))
        )
        if kind == "bent":
            return self._bent(self._sign(amount, CLIENT_KEY, remember=False))
        if kind == "fault":
            return self._faulty(amount)
        return self._sign(amount, CLIENT_KEY, remember=True)

    def _again(self, signed: Signed) -> Signed:
        """An old voucher, which may have expired since."""
        until = Voucher.read(signed.cell).valid_until
        expired = until and until <= self.channel.now
        return replace(signed, fault=Err.EXPIRED) if expired else signed

    def _sign(
        self,
        amount: int,
        key: SigningKey,
        *,
        remember: bool = False,
        network: int = MAINNET,
        channel: Address | None = None,
        valid_until: int = 0,
        fault: int = OK,
    ) -> Signed:
        where = channel or self.channel.address
        cell = Voucher(network, where, amount, self.rnd.getrandbits(64), valid_until).cell()
        signed = Signed(cell, key.sign(cell.hash).signature, amount, fault)
        if remember:
            self.vouchers.append(signed)
            self.ceiling = max(self.ceiling, amount)
        return signed

    def _faulty(self, amount: int) -> Signed:
        now = self.channel.now
        later = amount + GRAM  # else a voucher with a fault is often stale, too
        return self.rnd.choice(
            (
                lambda: self._sign(later, OTHER_KEY, fault=Err.SIGNATURE),
                lambda: self._sign(later, GATEWAY_KEY, fault=Err.SIGNATURE),
                lambda: self._sign(later, CLIENT_KEY, network=TESTNET, fault=Err.DOMAIN),
                lambda: self._sign(
                    later, CLIENT_KEY, channel=wallet("other channel"), fault=Err.DOMAIN
                ),
                lambda: self._sign(later, CLIENT_KEY, valid_until=now, fault=Err.EXPIRED),
                lambda: self._sign(later, CLIENT_KEY, valid_until=1, fault=Err.EXPIRED),
                lambda: self._sign(amount, CLIENT_KEY, valid_until=now + 1, remember=True),
            )
        )()

    def _bent(self, signed: Signed) -> Signed:
        """The same with one bit flipped, in the signature or in what it covers."""
        if self.rnd.random() < 0.5:
            at = self.rnd.randrange(512)
            signature = bytearray(signed.signature)
            signature[at // 8] ^= 1 << at % 8
            return Signed(signed.cell, bytes(signature), signed.amount, ANY_REFUSAL)
        return Signed(self._flip(signed.cell), signed.signature, signed.amount, ANY_REFUSAL)

    def _flip(self, cell: Cell) -> Cell:
        bits = cell.bits.to01()
        at = self.rnd.randrange(len(bits))
        bent = bits[:at] + "10"[int(bits[at])] + bits[at + 1 :]
        flipped: Cell = begin_cell().store_bits(bent).end_cell()
        return flipped

    def _coop_close(self, name: str, state: ChannelState, _own: int) -> Move:
        rnd, now = self.rnd, self.channel.now
        amount = rnd.choice(
            (
                state.claimed, state.deposited, state.deposited + 1, max(0, state.claimed - 1),
                rnd.randint(state.claimed, state.deposited), state.claimed + 1,
            )
        )  # fmt: skip
        fault, first, second = OK, CLIENT_KEY, GATEWAY_KEY
        network, where, until = MAINNET, self.channel.address, now + 600
        kind = rnd.choice(
            (*("good",) * 2, "network", "channel", "late", "bent", "client", "gateway", "swapped")
        )
        if kind == "network":
            network, fault = TESTNET, Err.DOMAIN
        elif kind == "channel":
            where, fault = wallet("other channel"), Err.DOMAIN
        elif kind == "late":
            until, fault = now, Err.EXPIRED
        elif kind in ("client", "swapped"):
            first, fault = OTHER_KEY, Err.SIGNATURE
        cell = CloseTerms(network, where, amount, until).cell()
        other_fault = OK
        if kind in ("gateway", "swapped"):
            second, other_fault = rnd.choice((OTHER_KEY, CLIENT_KEY)), Err.SIGNATURE
        ones, others = first.sign(cell.hash).signature, second.sign(cell.hash).signature
        if kind == "bent":
            cell, fault = self._flip(cell), ANY_REFUSAL
        elif fault == OK and other_fault == OK:
            self.ceiling = max(self.ceiling, amount)
        signed = Signed(cell, ones, amount, fault, others, other_fault)
        writer = Writer().uint(Op.COOP_CLOSE, 32).uint(QUERY, 64).octets(ones, 64).ref(cell)
        body = writer.ref(Writer().octets(others, 64).cell()).cell()
        source = rnd.choice((CLIENT, GATEWAY, STRANGER))
        return Move(
            name, source, self._value(Gas.COOP_CLOSE), body, amount, signed, self._bounces(),
            self._init(),
        )  # fmt: skip

    def _bare(self, name: str, _state: ChannelState, _own: int) -> Move:
        op, gas = Op.FINISH_CLOSE, Gas.FINISH_CLOSE
        source, messages = self.rnd.choice((CLIENT, GATEWAY, STRANGER)), 1
        if name == "start_close":
            op, gas, source, messages = Op.START_CLOSE, Gas.START_CLOSE, self._sender(CLIENT), 2
        body = Writer().uint(op, 32).uint(QUERY, 64).cell()
        value = self._value(gas, messages=messages, plenty=3)
        return Move(name, source, value, body, bounce=self._bounces(), init=self._init())

    def _junk(self) -> Move:
        """Money without a message, comments, op codes of nobody."""
        rnd = self.rnd
        body = rnd.choice(
            (
                None,
                Writer().uint(0, 32).octets(b"for the channel", 15).cell(),
                Writer().uint(rnd.getrandbits(32) | 1 << 31, 32).uint(QUERY, 64).cell(),
                Writer().uint(Op.PAYOUT, 32).uint(QUERY, 64).coins(1).cell(),
            )
        )
        value = rnd.choice((PLENTY, GRAM, 3 * GRAM))
        return Move("junk", rnd.choice((CLIENT, STRANGER)), value, body, bounce=rnd.random() < 0.5)


def _top_up(amount: int) -> Cell:
    return Writer().uint(Op.TOP_UP, 32).uint(QUERY, 64).coins(amount).cell()
