"""What an owner can claim on chain: the highest vouchers of all workers together. Pure.

Workers of one owner are paid by one channel for each gateway and hold vouchers over the same sum,
so the highest of them counts, once.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ton.owner.status.problem import Problem
from ton.owner.status.sight import Sight


@dataclass(frozen=True, slots=True)
class Payable:
    """A payout channel; `seen_at` is when its owner's tools last saw it on chain, 0 for never.

    `deposited` is None where nobody has looked: the voucher alone says then what there is.
    """

    network: str
    channel: str
    gateway: str
    vouched: int
    deposited: int | None = None
    claimed: int = 0
    close_at: int = 0
    closed: bool = False
    seen_at: int = 0

    @property
    def claimable(self) -> int:
        """Nano that a claim would bring now, fees aside."""
        if self.closed:
            return 0
        paid = self.vouched if self.deposited is None else min(self.vouched, self.deposited)
        return max(paid - self.claimed, 0)

    def document(self) -> dict[str, Any]:
        """For JSON."""
        amounts = {
            "vouched_nano": str(self.vouched),
            "deposited_nano": None if self.deposited is None else str(self.deposited),
            "claimed_nano": str(self.claimed),
            "claimable_nano": str(self.claimable),
        }
        rest = asdict(self)
        del rest["vouched"], rest["deposited"], rest["claimed"]
        return rest | amounts


def payables_of(sight: Sight) -> list[Payable]:
    """The channels that one worker holds vouchers of."""
    seen = {(one.network, one.channel): one for one in (sight.seen.seen if sight.seen else ())}
    at = sight.seen.at if sight.seen else 0
    found = []
    for held in sight.payouts.held if sight.payouts else ():
        channel = held.payout_channel
        on_chain = seen.get((channel.network, channel.channel))
        found.append(
            Payable(
                network=channel.network,
                channel=channel.channel,
                gateway=held.gateway,
                vouched=int(held.voucher.amount) if held.voucher else 0,
                deposited=int(on_chain.deposited) if on_chain else None,
                claimed=int(on_chain.claimed) if on_chain else 0,
                close_at=on_chain.close_at if on_chain else 0,
                closed=on_chain.closed if on_chain else False,
                seen_at=at if on_chain else 0,
            )
        )
    return found


def together(payables: Iterable[Payable]) -> list[Payable]:
    """Each channel once: its highest voucher, and what was seen of it last."""
    found: dict[tuple[str, str], Payable] = {}
    for one in payables:
        other = found.setdefault((one.network, one.channel), one)
        newer = max(one, other, key=lambda each: each.seen_at)
        deposits = [each.deposited for each in (one, other) if each.deposited is not None]
        found[one.network, one.channel] = Payable(
            network=one.network,
            channel=one.channel,
            gateway=one.gateway,
            vouched=max(one.vouched, other.vouched),
            deposited=max(deposits) if deposits else None,  # it never falls
            claimed=max(one.claimed, other.claimed),
            close_at=newer.close_at,
            closed=one.closed or other.closed,
            seen_at=newer.seen_at,
        )
    return list(found.values())


def problems(payables: Iterable[Payable]) -> Iterator[Problem]:
    """Money that may be lost."""
    for one in payables:
        if one.close_at and one.claimable:
            yield Problem(
                "channel_closes",
                f"the channel {one.channel[:16]} that pays it is being closed: bombyx owner claim, "
                "before its time is over",
            )
