"""`bombyx up`: a whole network on this machine, until Ctrl-C."""

import contextlib
import datetime as dt
import sys
import time
from collections import deque
from pathlib import Path
from typing import Annotated

import typer

from bombyx.cli.network.interrupt import stoppable
from bombyx.cli.network.network import Network, running
from bombyx.cli.network.plan import ChainKind, EngineKind, Wish
from bombyx.cli.network.snippet import curl_snippet, python_snippet
from bombyx.cli.network.view import Figures, dashboard
from bombyx.cli.output import JsonOption, Output
from bombyx.settings import state_directory

FOLDER = "up"
TEND_SECONDS = 0.1
FOLLOW_SECONDS = 1.0
NOTES = 20

StateOption = Annotated[
    Path | None, typer.Option(help="Folder for everything; used again on the next start.")
]
EngineOption = Annotated[EngineKind, typer.Option(help="What answers behind the workers.")]
EngineUrlOption = Annotated[
    str | None, typer.Option(help="With --engine openai: the server, such as SGLang or vLLM.")
]
ModelPathOption = Annotated[
    Path | None, typer.Option(help="A GGUF file, or a folder of safetensors for SGLang or vLLM.")
]
WorkersOption = Annotated[int, typer.Option(min=1, max=16, help="How many workers.")]
ProcessesOption = Annotated[
    int, typer.Option(min=1, max=64, help="Of the gateway; several need --database-url.")
]
DatabaseOption = Annotated[
    str | None, typer.Option(help="postgresql://… instead of a SQLite file in the folder.")
]
ChainOption = Annotated[
    ChainKind, typer.Option(help="A TON devnet beside it; auto: where its TVM is installed.")
]
PortOption = Annotated[int, typer.Option(min=1, max=65535, help="The sidecar's, or the next free.")]
GatewayPortOption = Annotated[
    int, typer.Option(min=1, max=65535, help="The gateway's, or the next free.")
]


def up(  # noqa: PLR0913 - one parameter per flag
    *,
    state: StateOption = None,
    engine: EngineOption = EngineKind.LLAMACPP,
    engine_url: EngineUrlOption = None,
    model_path: ModelPathOption = None,
    workers: WorkersOption = 2,
    port: PortOption = 8787,
    gateway_port: GatewayPortOption = 8080,
    processes: ProcessesOption = 1,
    database_url: DatabaseOption = None,
    chain: ChainOption = ChainKind.AUTO,
    as_json: JsonOption = False,
) -> None:
    """Start gateway, workers and sidecar; print where to point an OpenAI SDK; run until Ctrl-C."""
    wish = Wish(
        *(engine, engine_url, workers, port, gateway_port, model_path),
        processes=processes,
        database_url=database_url,
        chain=chain,
    )
    notes = _Notes()
    with stoppable(), running(network_folder(state, FOLDER), wish, say=notes.add) as network:
        Output(as_json=as_json).answer(network.document(), *_welcome(network))
        with contextlib.suppress(KeyboardInterrupt):
            if as_json or not sys.stdout.isatty():
                _tend(network)
            else:
                _show(network, notes)
        notes.is_shown = False
        notes.add("stopping")


class _Notes:
    """What happens on the way: on stderr, since stdout begins with the URL, or within the view."""

    def __init__(self) -> None:
        self.recent: deque[str] = deque(maxlen=NOTES)
        self.is_shown = False
        self._output = Output(as_json=True)

    def add(self, sentence: str) -> None:
        """Keep a sentence, and say it unless the view does."""
        self.recent.append(sentence)
        if not self.is_shown:
            self._output.say(sentence)


def network_folder(named: Path | None, default: str) -> Path:
    """The folder named, else one of ours below the state directory."""
    return state_directory(named) if named is not None else state_directory() / default


def _welcome(network: Network) -> tuple[str, ...]:
    model, key = network.models[0], network.keys.api_key
    where = "  ^ base_url for any OpenAI SDK: what it sends is sealed here for a verified worker"
    facts = (
        f"models:  {', '.join(network.models)}",
        f"gateway: {network.gateway}",
        *_money(network),
        f"policy:  {network.state.policy}",
        f"logs:    {network.state.folder / 'logs'}",
        "The workers are SIMULATED: no hardware protects what they see.",
    )
    return (
        f"{network.sidecar}/v1\n{where}\n",
        python_snippet(network.sidecar, api_key=key, model=model),
        curl_snippet(network.sidecar, api_key=key, model=model),
        "\n".join(facts) + "\n",
    )


def _money(network: Network) -> list[str]:
    """How the sidecar pays; nothing where prepaid credit does, which was said before."""
    if network.chain is None or network.payer is None:
        return []
    folder = network.payer.state.payer
    return [
        f"chain:   {network.chain.document['api_v2']}",
        f"wallet:  {network.payer.address}, which opens and fills payment channels by itself",
        f"         (`bombyx channel status --offline --state {folder}`)",
    ]


def _tend(network: Network) -> None:
    while True:
        network.supervisor.tend()
        time.sleep(TEND_SECONDS)


def _show(network: Network, notes: _Notes) -> None:
    from rich.live import Live  # noqa: PLC0415 - only on a terminal

    notes.recent.clear()
    notes.is_shown = True
    figures, asked = Figures(dt.datetime.now(dt.UTC).date().isoformat()), 0.0
    figures.begin(network.books)
    with Live(refresh_per_second=4) as live:
        while True:
            network.supervisor.tend()
            now = time.monotonic()
            if now - asked > FOLLOW_SECONDS:
                figures.follow(network.books)
                if network.payer is not None:
                    figures.look(network.books)
                asked = now
            posts = network.supervisor.posts
            live.update(dashboard(posts, figures, notes.recent, now=now))
            time.sleep(TEND_SECONDS)
