"""From settings to a wallet: folders, caps, and who moves money where its owner allows that."""

import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from bombyx.attestation.policy import Policy
from bombyx.client.channel.chain_port import ChainSide
from bombyx.client.channel.funder import OpenSide, ThreadFunder
from bombyx.client.channel.funding import Say, Terms
from bombyx.client.channel.wallet import FOLDER, Funder, Wallet
from bombyx.client.settings import ClientSettings
from bombyx.errors import SetupError
from bombyx.money.channel.spending import Caps
from bombyx.settings import load_settings, state_directory

ChannelSource = bool | Path | str | None
"""Where to pay from: True is the user's own channels, a path those of a folder, else nothing."""
OUTBOX = "wallet"
"""The folder of what a wallet was told to send, in the state directory."""


def caps_of(settings: ClientSettings) -> Caps:
    """What the owner allows."""
    return Caps(
        max_inflight=settings.max_inflight_nano,
        max_daily=settings.max_daily_nano,
        max_deposit=settings.max_deposit_nano,
    )


def terms_of(
    settings: ClientSettings, policy: Policy, root: Path, clock: Callable[[], int]
) -> Terms:
    """The same with the keys that the policy lets be paid."""
    return Terms(
        root=root,
        caps=caps_of(settings),
        amount=settings.top_up_nano,
        keys=policy.channel_keys,
        clock=clock,
        draw=os.urandom,
    )


def open_wallet(
    settings: ClientSettings,
    policy: Policy,
    *,
    root: Path,
    state: Path | None,
    clock: Callable[[], int],
    say: Say,
    config: Path | None = None,
) -> Wallet:
    """The channels below `root`; with `[client] pay` also somebody who fills them."""
    funder: Funder | None = None
    if settings.pay:
        if settings.mnemonic_file is None:
            raise SetupError("pay needs the wallet's words: set mnemonic_file, or --mnemonic-file")
        side = side_of(settings.mnemonic_file, None, state=state, config=config, show=say)
        funder = ThreadFunder(terms_of(settings, policy, root, clock), side, say=say)
    return Wallet(root, caps_of(settings), clock=clock, funder=funder)


def root_of(channel: ChannelSource, state: Path | None) -> Path:
    """The folder of channels that `channel=` means: a folder, or the usual one for True."""
    if channel is None or isinstance(channel, bool):
        return state_directory(state) / FOLDER
    return Path(channel).expanduser().absolute()


def side_of(
    key_file: Path | None,
    account: str | None,
    *,
    state: Path | None,
    config: Path | None,
    show: Callable[[str], object],
) -> OpenSide:
    """How to reach the chain of `[ton]`; raises `SetupError` where bombyx-ton is not installed."""
    try:
        from bombyx.client.channel.ton_side import open_ton_side  # noqa: PLC0415  (optional)
        from ton.settings import TonSettings  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise SetupError(
            f"what moves money needs bombyx-ton (the module {error.name} is missing)"
        ) from None
    settings, _ = load_settings(TonSettings, "ton", config=config)
    words = None if key_file is None else key_file.expanduser()

    def opened() -> AbstractAsyncContextManager[ChainSide]:
        return open_ton_side(
            settings,
            key_file=words,
            account=account,
            outbox=state_directory(state) / OUTBOX,
            show=show,
        )

    return opened
