"""`bombyx gateway`: one process, or a supervisor of many; `bombyx gateway proxy-config`."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import structlog
import typer

from bombyx.cli.output import JsonOption, Output
from bombyx.errors import SetupError
from bombyx.settings import load_settings, state_directory
from gateway.database import sqlite_path, upgrade
from gateway.processes.proxy_rules import Front, ProxyKind, rules
from gateway.processes.supervisor import Recipe, Supervisor
from gateway.settings import GatewaySettings

OWNER_ONLY = 0o077
"""Files of the gateway (database, keys) are nobody else's to read."""
SLOT = "{slot}"
READ_MARGIN_SECONDS = 30
_NEARBY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - listening everywhere is answering here

gateway = typer.Typer(
    help="Run a gateway: authenticate, route and meter requests that it cannot read.",
    invoke_without_command=True,
    no_args_is_help=False,
)

ProcessesOption = Annotated[
    int | None, typer.Option(help="How many processes share the port; several need PostgreSQL.")
]
SlotOption = Annotated[
    int | None, typer.Option(help="Its number among the processes of one database; the first's.")
]
PortOption = Annotated[int | None, typer.Option(help="Port; 0 takes a free one.")]
LinkPortOption = Annotated[
    int | None, typer.Option(help="Of several processes: the first one's port for links.")
]
LinkUrlOption = Annotated[
    str | None, typer.Option(help="URL that workers dial; of several processes with {slot}.")
]
HostOption = Annotated[str | None, typer.Option(help="Address to listen on.")]


@gateway.callback()
def run(  # noqa: PLR0913 - one parameter per flag
    context: typer.Context,
    *,
    host: HostOption = None,
    port: PortOption = None,
    processes: ProcessesOption = None,
    slot: SlotOption = None,
    link_port: LinkPortOption = None,
    policy: Annotated[Path | None, typer.Option(help="Which workers may be listed.")] = None,
    link_url: LinkUrlOption = None,
    fee_bps: Annotated[int | None, typer.Option(help="The gateway's fee in 1/100 %.")] = None,
    database_url: Annotated[
        str | None, typer.Option("--database-url", help="sqlite:///path or postgresql://…")
    ] = None,
    state: Annotated[Path | None, typer.Option("--state", help="Folder for keys and data.")] = None,
    die_with_parent: Annotated[
        bool, typer.Option("--die-with-parent", hidden=True, help="Stop with the starting process.")
    ] = False,
    supervised: Annotated[
        str | None, typer.Option(hidden=True, help="By its supervisor: PID,SOCKET,LINK_PORT.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a gateway: authenticate, route and meter requests that it cannot read."""
    if context.invoked_subcommand is not None:
        return
    from gateway.parent import die_with  # noqa: PLC0415

    if die_with_parent:
        die_with()
    os.umask(OWNER_ONLY)
    configure_logs()
    flags = {
        "host": host,
        "port": port,
        "processes": processes,
        "slot": slot,
        "link_port": link_port,
        "policy": policy,
        "link_url": link_url,
        "fee_bps": fee_bps,
        "database_url": database_url,
    }
    settings, _ = load_settings(GatewaySettings, "gateway", flags)
    folder = state_directory(state)
    if supervised is not None:
        _serve_for(supervised, settings, folder)
        return
    database = settings.database_url or f"sqlite:///{folder / 'gateway.db'}"
    if settings.processes > 1:
        _check_many(settings, database)
    asyncio.run(upgrade(database))
    if settings.processes > 1:
        _supervise(settings, {**flags, "state": state}, Output(as_json=as_json))
    else:
        _serve_alone(settings, folder, Output(as_json=as_json))


def _serve_alone(settings: GatewaySettings, folder: Path, output: Output) -> None:
    import uvloop  # noqa: PLC0415 - keeps `bombyx --help` quick

    from gateway.serve import serve  # noqa: PLC0415

    def ready(document: dict[str, Any]) -> None:
        shown = f"gateway {document['url']}\nworkers dial {document['link_url']}"
        output.answer(document, shown)

    uvloop.run(serve(settings, state=folder, on_ready=ready))


def _serve_for(supervised: str, settings: GatewaySettings, folder: Path) -> None:
    """One of several; its stdout is the supervisor's to read, line by line."""
    import uvloop  # noqa: PLC0415

    from gateway.parent import die_with  # noqa: PLC0415
    from gateway.serve import Shared, serve  # noqa: PLC0415

    parent, descriptor, link_port = (int(part) for part in supervised.split(","))
    die_with(parent)
    shared = Shared(socket.socket(fileno=descriptor), link_port, tell=_say)
    uvloop.run(serve(settings, state=folder, on_ready=_say, shared=shared))


def _say(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def _check_many(settings: GatewaySettings, database: str) -> None:
    """Raises `SetupError` for what several processes cannot share."""
    if sqlite_path(database) is not None:
        raise SetupError(
            "several processes share one PostgreSQL database, which SQLite cannot be: "
            "give --database-url postgresql://… (pip install 'bombyx-gateway[postgres]')"
        )
    if settings.link_url and SLOT not in settings.link_url:
        raise SetupError(
            f"each process has a link URL of its own: put {SLOT} into link_url, such as "
            f"wss://HOST/v1/workers/link/{SLOT}"
        )


def _supervise(settings: GatewaySettings, flags: dict[str, Any], output: Output) -> None:
    from gateway.serve import bind, origin, read_policy  # noqa: PLC0415

    read_policy(settings.policy)  # one sentence, not one for each process
    public = bind(settings.host, settings.port)
    recipe = Recipe(
        argv=_argv(flags, public),
        slots=range(settings.slot, settings.slot + settings.processes),
        public=public,
        link_port=settings.link_port,
        grace_seconds=settings.shutdown_grace_s,
    )

    def ready(children: list[dict[str, Any]]) -> None:
        url = origin(settings.host, public.getsockname()[1])
        told = [{key: one[key] for key in ("slot", "link_url", "pid")} for one in children]
        document = {
            "url": url,
            "gateway": children[0]["gateway"],
            "link_url": children[0]["link_url"],
            "pid": os.getpid(),
            "processes": told,
        }
        links = "\n".join(f"workers dial {one['link_url']}" for one in told)
        output.answer(document, f"gateway {url}\n{links}")

    async def supervise() -> None:
        await Supervisor(recipe).run(ready)

    with public:
        asyncio.run(supervise())


def _argv(flags: dict[str, Any], public: socket.socket) -> Callable[[int, int], Sequence[str]]:
    """The command line of one process: our own flags, which settings it reads anew."""
    given = [
        text
        for name, value in flags.items()
        if value is not None and name not in {"processes", "slot"}
        for text in ("--" + name.replace("_", "-"), str(value))
    ]

    def argv(slot: int, link_port: int) -> list[str]:
        supervised = f"{os.getpid()},{public.fileno()},{link_port}"
        own = ["--slot", str(slot), "--supervised", supervised, "--json"]
        return [sys.executable, "-P", "-m", "bombyx", "gateway", *given, *own]

    return argv


@gateway.command("proxy-config")
def proxy_config(
    kind: Annotated[ProxyKind, typer.Argument(help="Whose rules.")],
    *,
    host: HostOption = None,
    port: PortOption = None,
    processes: ProcessesOption = None,
    slot: SlotOption = None,
    link_port: LinkPortOption = None,
    link_url: LinkUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the rules of a proxy in front of the gateway, made from its settings."""
    flags = {
        "host": host,
        "port": port,
        "processes": processes,
        "slot": slot,
        "link_port": link_port,
        "link_url": link_url,
    }
    settings, _ = load_settings(GatewaySettings, "gateway", flags)
    text = rules(kind, front_of(settings))
    Output(as_json=as_json).answer({"kind": kind.value, "rules": text}, text.rstrip("\n"))


def front_of(settings: GatewaySettings) -> Front:
    """What a proxy must know; raises `SetupError` for settings that no proxy can stand before."""
    site = urlsplit(settings.link_url).hostname
    if not site:
        raise SetupError("set link_url to what workers dial: wss://HOST/v1/workers/link/{slot}")
    if settings.processes > 1 and not settings.link_port:
        raise SetupError("set link_port: processes that take free ports cannot be named in rules")
    if not settings.port:
        raise SetupError("set port: a gateway that takes a free one cannot be named in rules")
    first = settings.link_port if settings.processes > 1 else settings.port
    host = _NEARBY.get(settings.host, settings.host)
    host = f"[{host}]" if ":" in host else host
    return Front(
        site=site,
        public=f"{host}:{settings.port}",
        links=[
            (settings.slot + number, f"{host}:{first + number}")
            for number in range(settings.processes)
        ],
        max_request_mb=settings.max_request_mb + 1,  # what is too large is ours to refuse
        read_seconds=max(settings.first_byte_whole_s, settings.idle_s) + READ_MARGIN_SECONDS,
    )


def configure_logs() -> None:
    """JSON lines on stderr; stdout belongs to the ready line."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
