"""`bombyx owner init|earnings|claim|watch`: flags in, one document out (SPEC 8.6)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bombyx.cli.output import JsonOption, Output
from bombyx.errors import SetupError
from bombyx.settings import load_settings, state_directory
from ton.owner.clock import unix_seconds
from ton.owner.folders import folders, states

if TYPE_CHECKING:
    from ton.chain.port import ChainClient
    from ton.owner.payouts.round import Claim, Owner, Standing

FOLDER = "owner"
WORDS_FILE = "wallet.words"
KEY_FILE = "payout.key"
NOTHING_WORTH = "nothing is worth a claim now: --all claims what there is"

StateOption = Annotated[
    list[Path] | None, typer.Option("--state", help="A worker's state folder; repeatable.")
]
FolderOption = Annotated[
    Path | None, typer.Option("--folder", help="Where the owner's keys and outbox lie.")
]
WordsOption = Annotated[
    Path | None,
    typer.Option("--mnemonic-file", help="A file (mode 0600) with the wallet's 24 words."),
]
ConfigOption = Annotated[Path | None, typer.Option(help="The settings file to read.")]


def init(
    *,
    folder: FolderOption = None,
    mnemonic_file: WordsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the owner's wallet and channel key, or show them; what workers have to be told."""
    from bombyx.money.channel.closing import ChannelSigner  # noqa: PLC0415 - quick --help
    from ton.owner.payouts.key import payout_seed  # noqa: PLC0415
    from ton.settings import MAINNET, TESTNET, TonSettings  # noqa: PLC0415
    from ton.wallet.keys import read_key, read_or_create_key  # noqa: PLC0415
    from ton.wallet.w5 import wallet_address  # noqa: PLC0415

    settings, _ = load_settings(TonSettings, "ton", config=config)
    home = _home(folder)
    words = mnemonic_file or home / WORDS_FILE
    key = read_key(words) if mnemonic_file is not None else read_or_create_key(words)
    address = wallet_address(key.public_key, network=settings.network)
    signer = ChannelSigner(payout_seed(home / KEY_FILE))
    shown = address.to_str(is_bounceable=False)
    where = {MAINNET: "mainnet", TESTNET: "testnet"}.get(settings.network, "a devnet")
    flags = f"--wallet {shown} --payout-key {signer.public_key.hex()}"
    document = {
        "wallet": shown,
        "payout_key": signer.public_key.hex(),
        "words": str(words),
        "network": settings.network,
    }
    Output(as_json=as_json).answer(
        document,
        f"bombyx worker {flags}",
        f"  ^ start every worker of yours so; an address of {where}, as [ton] network says",
        f"the wallet's words lie in {words}: whoever reads them has your money, so keep a copy",
        "elsewhere; the wallet needs a little for the gas of its first claim",
    )


def earnings(
    *, state: StateOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """What gateways owe, by voucher and on the chain."""

    async def run() -> "list[Standing]":
        async with _chain(config) as chain:
            return await _owner(chain, state).look()

    standings, output = asyncio.run(run()), Output(as_json=as_json)
    _say_unpaid(output, state)
    output.answer(_document(standings), *_lines(standings))


def claim(
    *,
    state: StateOption = None,
    folder: FolderOption = None,
    mnemonic_file: WordsOption = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Also what is not worth a hundred times its cost.")
    ] = False,
    channel: Annotated[
        str, typer.Option(help="Claim this one, however little it brings; how its name begins.")
    ] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Claim what is worth it, and wait until the chain has paid."""
    from ton.owner.payouts.files import is_paid  # noqa: PLC0415 - quick --help
    from ton.owner.status.sums import gram  # noqa: PLC0415

    async def run() -> "tuple[list[Claim], list[Standing]]":
        async with _chain(config) as chain:
            owner = _owner(chain, state)
            with _wallet(chain, folder, mnemonic_file) as wallet:
                claims = await owner.claim(wallet, all_=all_, only=channel.removeprefix("0:"))
            return claims, await owner.look()

    claims, standings = asyncio.run(run())
    told = [f"claimed {gram(one.paid)} GRAM of {one.channel[:16]}" for one in claims]
    document = {"claims": [one.document() for one in claims], **_document(standings)}
    nothing = f"{channel} has nothing to claim" if channel else NOTHING_WORTH
    shown = told or ([nothing] * bool(standings))
    output = Output(as_json=as_json)
    _say_unpaid(output, state)
    output.answer(document, *shown, *_lines(standings))
    for named in states(state):
        if not any(map(is_paid, folders([named]))):
            raise SetupError(f"nothing was claimed of {named}: no voucher of a gateway lies there")


def watch(
    *,
    state: StateOption = None,
    folder: FolderOption = None,
    mnemonic_file: WordsOption = None,
    every: Annotated[
        float, typer.Option(min=1, max=3600, help="Seconds between two looks.")
    ] = 60.0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look again and again: tell workers what the chain shows, claim, answer closes at once."""
    from ton.owner.payouts.watching import watching  # noqa: PLC0415 - quick --help

    output = Output(as_json=as_json)

    async def run() -> None:
        async with _chain(config) as chain:
            owner = _owner(chain, state)
            with _wallet(chain, folder, mnemonic_file) as wallet:
                watched = [str(one) for one in folders(states(state))]
                _say_unpaid(output, state)
                output.answer({"watching": watched}, "watching")
                await watching(owner, wallet, every_s=every, say=output.say)

    asyncio.run(run())


def add_to(group: typer.Typer) -> None:
    """Put these commands into `bombyx owner`."""
    for command in (init, earnings, claim, watch):
        group.command()(command)


def _document(standings: "Sequence[Standing]") -> dict[str, Any]:
    return {
        "channels": [one.document() for one in standings],
        "billed_nano": str(sum(one.payable.billed for one in standings)),
        "claimable_nano": str(sum(one.claimable for one in standings)),
        "gap_nano": str(sum(one.gap for one in standings)),
    }


def _say_unpaid(output: Output, state: list[Path] | None) -> None:
    from ton.owner.payouts.files import is_paid  # noqa: PLC0415 - quick --help

    for folder in folders(states(state)):
        if not is_paid(folder):
            output.say(f"{folder} holds no vouchers: no gateway pays there by channel yet")


def _lines(standings: "Sequence[Standing]") -> list[str]:
    from ton.owner.status.sums import gram  # noqa: PLC0415 - quick --help

    lines = []
    for one in standings:
        payable = one.payable
        lines.append(
            f"{payable.channel.account.hex()[:16]}  {one.state:8} "
            f"voucher {gram(payable.best.amount)}, claimable {gram(one.claimable)} GRAM"
        )
        if one.gap:
            lines.append(f"  in no voucher yet: {gram(one.gap)} GRAM; if that lasts, it cheats")
        if one.uncovered:
            lines.append(f"  beyond the gateway's deposit: {gram(one.uncovered)} GRAM")
        if one.trouble:
            lines.append(f"  not seen: {one.trouble}")
    return lines or ["no gateway pays these workers by channel yet"]


def _home(folder: Path | None) -> Path:
    return folder or state_directory(None) / FOLDER


def _owner(chain: "ChainClient", state: list[Path] | None) -> "Owner":
    from ton.owner.payouts.round import Owner  # noqa: PLC0415 - quick --help

    return Owner(chain, states(state), unix=unix_seconds)


@asynccontextmanager
async def _chain(config: Path | None) -> "AsyncIterator[ChainClient]":
    from ton.chain.opening import open_chain  # noqa: PLC0415 - quick --help
    from ton.settings import TonSettings  # noqa: PLC0415

    settings, _ = load_settings(TonSettings, "ton", config=config)
    chain = open_chain(settings)
    try:
        yield chain
    finally:
        await chain.close()


def _wallet(chain: "ChainClient", folder: Path | None, words: Path | None) -> Any:
    from ton.wallet.wallet import open_wallet  # noqa: PLC0415 - quick --help

    home = _home(folder)
    if words is None and not (home / WORDS_FILE).exists():
        raise SetupError(
            f"there is no wallet in {home}: `bombyx owner init` makes one, --mnemonic-file or "
            "--folder name another"
        )
    return open_wallet(chain, words or home / WORDS_FILE, home / "outbox")
