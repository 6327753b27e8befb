"""`bombyx proxy`: the local sidecar, which seals what any OpenAI SDK sends (SPEC 11)."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from bombyx.cli.api_key import read_key
from bombyx.cli.network.interrupt import terminable
from bombyx.cli.output import JsonOption, Output
from bombyx.client.opening import open_session, resolve_policy
from bombyx.client.secret_files import load_or_create_secret
from bombyx.client.settings import ClientSettings
from bombyx.client.sidecar_guard import Keys
from bombyx.client.sidecar_server import loopback_sockets, serve_sidecar
from bombyx.envelope.response import Padding
from bombyx.errors import SetupError
from bombyx.settings import load_settings, state_directory

TOKEN_FILE = "proxy.token"  # noqa: S105  (a file's name)


def proxy(  # noqa: PLR0913  (one parameter per flag)
    *,
    gateway: Annotated[str | None, typer.Option(help="The gateway's URL.")] = None,
    policy: Annotated[Path | None, typer.Option(help="Which workers may be sealed to.")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port on 127.0.0.1 and ::1; the next free one if busy.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="The sidecar's own token; made if absent, mode 0600.")
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(help="The gateway's key for holders of the token.")
    ] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(help="The same, from a file; other users cannot see it.")
    ] = None,
    padding: Annotated[
        Padding | None, typer.Option(help="`exact` shows token lengths to the network.")
    ] = None,
    save_transcripts: Annotated[
        Path | None, typer.Option(help="Keep questions and answers here, in clear.")
    ] = None,
    pay: Annotated[
        bool | None,
        typer.Option("--pay/--no-pay", help="Open and fill channels by itself, within the caps."),
    ] = None,
    mnemonic_file: Annotated[
        Path | None, typer.Option(help="With --pay: a file with the wallet's 24 words.")
    ] = None,
    state: Annotated[Path | None, typer.Option(help="Where keys lie.")] = None,
    config: Annotated[Path | None, typer.Option(help="The settings file to read.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Run the local sidecar: seal what any OpenAI SDK sends.

    SDKs use its URL as base_url, and as key either the sidecar's token or a key of the gateway.
    It pays from the channels of its state directory, where it has one to the gateway.
    """
    given = {
        "gateway": gateway,
        "policy": policy,
        "port": port,
        "token_file": token_file,
        "api_key": read_key(api_key, api_key_file),
        "padding": padding,
        "save_transcripts": save_transcripts,
        "pay": pay,
        "mnemonic_file": mnemonic_file,
    }
    settings, _ = load_settings(ClientSettings, "client", given, config=config)
    if settings.gateway is None:
        raise SetupError("name the gateway: --gateway URL, or BOMBYX_CLIENT_GATEWAY")
    origin = str(settings.gateway).rstrip("/").removesuffix("/v1")
    accepted = resolve_policy(None, settings)
    session = open_session(accepted, settings=settings, state=state, channel=True, config=config)
    evidence = accepted if settings.gateway_evidence else None
    path = settings.token_file or state_directory(state) / TOKEN_FILE
    keys = Keys(_token(path), settings.api_key.get_secret_value() if settings.api_key else "")
    # Told to stop it also puts its books away: without this SIGTERM ends the process before that.
    with session.paying(origin), terminable(), loopback_sockets(settings.port) as sockets:
        output, url = Output(as_json=as_json), _url(sockets)

        def on_ready() -> None:
            ready = {"url": url, "token_file": str(path), "gateway": origin}
            output.answer(ready, *_welcome(url, path, origin))

        asyncio.run(
            serve_sidecar(
                session,
                sockets,
                keys=keys,
                gateway=origin,
                on_ready=on_ready,
                evidence=evidence,
            )
        )


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """A loop of uvloop, where there is one (not on Windows)."""
    try:
        import uvloop  # noqa: PLC0415  (optional)
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop


def _token(path: Path) -> str:
    try:
        return load_or_create_secret(path)
    except OSError as error:
        raise SetupError(f"{path} cannot be written: {error.strerror}") from None


def _url(sockets: Sequence[socket.socket]) -> str:
    return f"http://127.0.0.1:{sockets[0].getsockname()[1]}/v1"


def _welcome(url: str, token: Path, gateway: str) -> tuple[str, str]:
    return (
        f"sealing for {gateway} at {url}",
        f'OPENAI_BASE_URL={url} OPENAI_API_KEY="$(cat {token})"',
    )
