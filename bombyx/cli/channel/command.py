"""The commands of `bombyx channel`: flags in, one document out."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from bombyx.cli.api_key import read_key
from bombyx.cli.channel import work
from bombyx.cli.channel.desk import Desk, Given
from bombyx.cli.channel.shown import gram, lines
from bombyx.cli.output import JsonOption

channel = typer.Typer(no_args_is_help=True, add_completion=False)

ChannelName = Annotated[
    str | None, typer.Argument(help="The channel's address or how it begins; may be left out.")
]
GatewayOption = Annotated[str | None, typer.Option(help="The gateway's URL.")]
KeyFileOption = Annotated[
    Path | None, typer.Option(help="The gateway's API key, from a file; else of the settings.")
]
PolicyOption = Annotated[Path | None, typer.Option(help="Names the channel keys to pay.")]
WordsOption = Annotated[
    Path | None, typer.Option(help="A file (mode 0600) with the wallet's 24 words.")
]
WalletOption = Annotated[
    str | None,
    typer.Option(help="Address of a wallet elsewhere, as on a phone: shows links to open in it."),
]
StateOption = Annotated[Path | None, typer.Option(help="Where channels and keys lie.")]
ConfigOption = Annotated[Path | None, typer.Option(help="The settings file to read.")]
AmountOption = Annotated[
    int | None, typer.Option(min=1, help="In nano; [client] top_up_nano when left out.")
]


@channel.callback()
def _group() -> None:
    """Open, fill and close the payment channels that pay for requests."""


@channel.command("open")
def open_(  # noqa: PLR0913  (one parameter per flag)
    *,
    amount_nano: AmountOption = None,
    gateway: GatewayOption = None,
    api_key_file: KeyFileOption = None,
    policy: PolicyOption = None,
    mnemonic_file: WordsOption = None,
    wallet: WalletOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open a channel to the gateway and deposit; one that was begun is finished."""
    key = read_key(None, api_key_file)
    given = Given(state, config, gateway, key, policy, mnemonic_file, wallet, as_json)
    desk = Desk(given)
    _answer(desk, asyncio.run(work.open_(desk, amount_nano)))


@channel.command()
def status(
    name: ChannelName = None,
    *,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask neither chain nor gateway.")
    ] = False,
    api_key_file: KeyFileOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """All channels or one: our books, the chain's, and the gateway's word."""
    desk = Desk(Given(state, config, api_key=read_key(None, api_key_file), as_json=as_json))
    shown = asyncio.run(work.status(desk, name, offline=offline))
    told = [line for one in shown["channels"] for line in lines(one)]
    desk.output.answer(shown, *(told or ["no channel yet: bombyx channel open"]))


@channel.command()
def topup(
    name: ChannelName = None,
    *,
    amount_nano: AmountOption = None,
    policy: PolicyOption = None,
    mnemonic_file: WordsOption = None,
    wallet: WalletOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring more into a channel, within the deposit cap."""
    desk = Desk(Given(state, config, None, None, policy, mnemonic_file, wallet, as_json))
    _answer(desk, asyncio.run(work.top_up(desk, name, amount_nano)))


@channel.command()
def close(  # noqa: PLR0913  (one parameter per flag)
    name: ChannelName = None,
    *,
    alone: Annotated[
        bool,
        typer.Option("--alone", help="Without the gateway: the rest comes after a waiting time."),
    ] = False,
    gateway: Annotated[
        str | None, typer.Option(help="The gateway's URL, where it has moved since the opening.")
    ] = None,
    api_key_file: KeyFileOption = None,
    mnemonic_file: WordsOption = None,
    wallet: WalletOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Close a channel and get the rest back: at once where the gateway agrees."""
    key = read_key(None, api_key_file)
    desk = Desk(Given(state, config, gateway, key, None, mnemonic_file, wallet, as_json))
    _ended(desk, asyncio.run(work.close(desk, name, alone=alone)))


@channel.command()
def withdraw(
    name: ChannelName = None,
    *,
    mnemonic_file: WordsOption = None,
    wallet: WalletOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Finish a close that was started alone, once its waiting time is over."""
    desk = Desk(Given(state, config, None, None, None, mnemonic_file, wallet, as_json))
    _ended(desk, asyncio.run(work.withdraw(desk, name)))


@channel.command()
def history(
    name: ChannelName = None,
    *,
    state: StateOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Everything that ever happened to a channel on chain, in order."""
    desk = Desk(Given(state, config, as_json=as_json))
    events = asyncio.run(work.history(desk, name))
    told = [
        f"{one['at']}  {one['kind']}{'' if one['succeeded'] else ' (refused)'}  {one['hash'][:16]}"
        for one in events
    ]
    desk.output.answer({"events": events}, *(told or ["nothing happened yet"]))


def _answer(desk: Desk, shown: dict[str, Any]) -> None:
    desk.output.answer(shown, *lines(shown))


def _ended(desk: Desk, ended: dict[str, Any]) -> None:
    told = {
        "cooperative": "closed as both signed",
        "closed": "closed",
        "started": f"closing; from {ended['close_at']} (unix time) on: bombyx channel withdraw",
    }[ended["how"]]
    paid = f"the gateway got {gram(int(ended['claimed_nano']))} in all"
    back = f"{gram(int(ended['refunded_nano']))} came back, less fees"
    desk.output.answer(ended, told, paid, *([] if ended["how"] == "started" else [back]))
