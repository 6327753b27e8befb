"""`bombyx devnet`: flags to settings, then a chain on this machine until Ctrl-C."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bombyx.cli.output import JsonOption, Output
from bombyx.settings import load_settings, state_directory
from ton.settings import TonSettings

if TYPE_CHECKING:
    from ton.devnet.process import Running

FOLDER = "devnet"
OWNER_ONLY = 0o077


def devnet(
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.")] = None,
    network: Annotated[int | None, typer.Option(help="The network's id.")] = None,
    state: Annotated[Path | None, typer.Option(help="Folder for the chain.")] = None,
    memory: Annotated[
        bool, typer.Option("--memory", help="Keep nothing: a new chain every time.")
    ] = False,
    config: Annotated[Path | None, typer.Option(help="The settings file to read.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a TON chain on this machine: the real TVM behind toncenter's API, with a faucet."""
    import asyncio  # noqa: PLC0415 - keeps `bombyx --help` quick

    os.umask(OWNER_ONLY)
    flags = {"devnet_host": host, "devnet_port": port, "network": network}
    settings, _ = load_settings(TonSettings, "ton", flags, config=config)
    folder = None if memory else state_directory(state) / FOLDER
    asyncio.run(_serve(settings, folder, Output(as_json=as_json)))


async def _serve(settings: TonSettings, folder: Path | None, output: Output) -> None:
    import time  # noqa: PLC0415 - keeps `bombyx --help` quick

    from ton.devnet.configuration import machine  # noqa: PLC0415
    from ton.devnet.process import listening, opened, until_told  # noqa: PLC0415

    wall = time.time  # noqa: TID251 - the one clock of the devnet
    with (
        machine(settings.network, settings.emulator) as tvm,
        opened(tvm, folder, wall=wall) as chain,
    ):
        host, port = settings.devnet_host, settings.devnet_port
        async with listening(chain, host=host, port=port) as running:
            output.answer(running.document(), _welcome(running))
            await until_told()


def _welcome(running: "Running") -> str:
    url, network = running.url, running.devnet.network
    return (
        f"{url}/api/v2\n  ^ for any toncenter client; also {url}/api/v3\n\n"
        f"network: {network}\n"
        f"money:   curl {url}/devnet/faucet -d "
        '\'{"address": "…", "amount_nano": "1000000000"}\'\n'
        "Nothing here is worth anything: whoever reaches this port makes as much as they like."
    )
