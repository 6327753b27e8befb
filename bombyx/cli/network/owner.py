"""Whoever owns the workers of a local network: a wallet with a little gas, and `bombyx owner`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bombyx import canonical
from bombyx.cli.network.chain import Chain
from bombyx.cli.network.errand import run_errand
from bombyx.cli.network.state import NetworkState, fresh_log
from bombyx.errors import NotCanonical, RemoteError
from bombyx.money.channel.payout_documents import PAYOUTS_FILE, HeldPayout, PayoutFile

OWNER_NANO: Final = 10**9
"""What the owner's wallet has at each start: gas for claims."""


@dataclass(frozen=True, slots=True)
class Owner:
    """One owner of all workers; `wallet` is the address that earnings go to."""

    state: NetworkState
    chain: Chain
    wallet: str
    payout_key: str

    @property
    def flags(self) -> tuple[str, ...]:
        """What a worker is told of its owner."""
        return ("--wallet", self.wallet, "--payout-key", self.payout_key)

    def claim(self, channel: str) -> dict[str, Any]:
        """Claim one channel (hex), however little it brings; raises `SetupError`."""
        flags = ("--state", str(self.state.folder), "--folder", str(self.state.owner))
        return _run(self.state, self.chain, "claim", *flags, "--channel", channel)

    def held(self, gateway: str) -> HeldPayout | None:
        """By what a gateway (hex) pays now, with the best voucher that any worker holds."""
        found = [
            one
            for folder in sorted(self.state.folder.glob("worker-*"))
            for one in _read(folder / PAYOUTS_FILE)
            if one.is_current and one.gateway == gateway
        ]
        return max(found, key=vouched, default=None)


def vouched(held: HeldPayout | None) -> int:
    """Nano that its voucher is good for, deposits aside."""
    return 0 if held is None or not held.voucher else int(held.voucher.amount)


def funded_owner(state: NetworkState, chain: Chain) -> Owner:
    """An owner with wallet and key in a folder, made at the first start; raises `SetupError`."""
    made = _run(state, chain, "init", "--folder", str(state.owner))
    owner = Owner(state, chain, str(made["wallet"]), str(made["payout_key"]))
    chain.fill(owner.wallet, OWNER_NANO)
    return owner


def _run(state: NetworkState, chain: Chain, command: str, *flags: str) -> dict[str, Any]:
    log = fresh_log(state, f"owner-{command}")
    return run_errand(("owner", command, *flags), log=log, environment=chain.settings)


def _read(path: Path) -> tuple[HeldPayout, ...]:
    try:
        return tuple(canonical.decode(path.read_bytes(), PayoutFile).held)
    except FileNotFoundError:
        return ()
    except (OSError, NotCanonical) as error:
        raise RemoteError(f"cannot read {path}: {error}") from None
