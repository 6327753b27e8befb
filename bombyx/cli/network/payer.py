"""Whoever pays by channel in a local network: a wallet with money, and `bombyx channel` for it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bombyx.cli.channel.shown import document, read
from bombyx.cli.network.chain import Chain
from bombyx.cli.network.errand import run_errand
from bombyx.cli.network.state import NetworkState, fresh_log
from bombyx.client.channel.marks import UNREGISTERED, is_marked
from bombyx.client.channel.wallet import FOLDER, channel_folders

CLIENT_NANO: Final = 10 * 10**9
"""What the client's wallet has at each start: more than its caps let it lock."""
GATEWAY_NANO: Final = 10**9
"""The gateway's attaches 0.005 to each claim, and most of that comes back."""
WORDS: Final = "wallet.words"
OPEN: Final = "open"


@dataclass(frozen=True, slots=True)
class Payer:
    """The client that the sidecar pays for."""

    state: NetworkState
    chain: Chain
    address: str
    words: Path

    def channel(self, command: str, *arguments: str) -> dict[str, Any]:
        """Run `bombyx channel COMMAND` as this client; raises `SetupError` with its reason."""
        return run_errand(
            ("channel", command, *arguments, "--state", str(self.state.payer)),
            log=fresh_log(self.state, f"channel-{command}"),
            environment={
                **self.chain.settings,
                "BOMBYX_CLIENT_MNEMONIC_FILE": str(self.words),
                "BOMBYX_CLIENT_POLICY": str(self.state.policy),
                "BOMBYX_CLIENT_API_KEY": self.state.api_key.read_text(encoding="utf-8").strip(),
            },
        )

    def left_open(self) -> dict[str, Any] | None:
        """The channel that an earlier start left open, or None."""
        for folder in channel_folders(self.state.payer / FOLDER):
            known = document(*read(folder))
            if known["state"] == OPEN:
                return known
        return None

    def is_registered(self, channel: str) -> bool:
        """Whether the gateway was told of a channel (hex) of ours."""
        return not is_marked(self.state.payer / FOLDER / channel, UNREGISTERED)

    def books_of(self, channel: str) -> dict[str, Any]:
        """How a channel (hex) stands by the client's own books."""
        return document(*read(self.state.payer / FOLDER / channel))


def funded_payer(state: NetworkState, chain: Chain, *, gateway: str) -> Payer:
    """A wallet in the payer's folder, made at the first start; it and `gateway`'s get money."""
    # Only where there is a chain: bombyx-ton is a distribution of its own.
    from ton.codec.cells import raw  # noqa: PLC0415
    from ton.wallet.keys import read_or_create_key  # noqa: PLC0415
    from ton.wallet.w5 import wallet_address  # noqa: PLC0415

    words = state.payer / WORDS
    key = read_or_create_key(words)
    address = raw(wallet_address(key.public_key, network=chain.network))
    chain.fill(address, CLIENT_NANO)
    chain.fill(gateway, GATEWAY_NANO)
    return Payer(state, chain, address, words)
