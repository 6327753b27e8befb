"""`bombyx conformance`: whether the gateway at a URL, anybody's, speaks OpenAI's API."""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated

import httpx2
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from bombyx.cli.output import JsonOption, Output
from bombyx.conformance.record import Check, Outcome, Result
from bombyx.conformance.run import CHECK_SECONDS, all_checks, chosen, first_model, run
from bombyx.conformance.server import Server
from bombyx.conformance.verdict import Lacks, Wrong
from bombyx.conformance.view import checks_table, outcomes_table, report

FAILED = 1
CONNECT_SECONDS = 10.0
MOST_CONNECTIONS = 64
Progressed = Callable[[str], None]


def conformance(
    url: Annotated[str, typer.Argument(help="The API's base URL, ending in /v1.")] = "",
    *,
    key: Annotated[
        str, typer.Option(envvar="OPENAI_API_KEY", help="An API key; better from the environment.")
    ] = "",
    model: Annotated[str, typer.Option(help="The model to ask; by default the first.")] = "",
    only: Annotated[list[str] | None, typer.Option(help="A check or an area; repeatable.")] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for each check.")] = CHECK_SECONDS,
    show_list: Annotated[bool, typer.Option("--list", help="List the checks and stop.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check a gateway against OpenAI's API; exit code 1 unless every check passes or is skipped.

    A check is skipped where the server says properly, by an OpenAI error with 400 or 404, that it
    lacks an optional feature. The whole costs some thousand tokens.
    """
    output, checks = Output(as_json=as_json), _chosen(only or [])
    if show_list:
        listed = [{"name": one.name, "area": one.area, "rule": one.rule} for one in checks]
        output.answer({"checks": listed}, checks_table(checks))
        return
    base = _base(url)
    with _progress(len(checks)) as advance:
        name, outcomes = asyncio.run(
            _run(checks, base=base, key=key, model=model, seconds=timeout, advance=advance)
        )
    output.answer(report(base, name, outcomes), outcomes_table(outcomes))
    if any(one.result is Result.FAIL for one in outcomes):
        raise typer.Exit(FAILED)


async def _run(
    checks: Sequence[Check],
    *,
    base: str,
    key: str,
    model: str,
    seconds: float,
    advance: Progressed,
) -> tuple[str, list[Outcome]]:
    """The model asked, and what became of each check."""
    timeout = httpx2.Timeout(seconds, connect=CONNECT_SECONDS)
    limits = httpx2.Limits(max_connections=MOST_CONNECTIONS)
    async with httpx2.AsyncClient(timeout=timeout, limits=limits) as http:
        server = Server(http, base=base, key=key, model=model)
        server.model = model or await _first_model(server)
        outcomes = []
        async for outcome in run(checks, server, seconds=seconds):
            outcomes.append(outcome)
            advance(outcome.check.name)
    return server.model, outcomes


async def _first_model(server: Server) -> str:
    """What to ask where the user named no model; a server without one cannot be checked."""
    try:
        return await first_model(server)
    except (Wrong, Lacks) as error:
        raise typer.BadParameter(f"{error}: name one with --model", param_hint="URL") from None
    except (httpx2.HTTPError, OSError) as error:
        hint = f"nothing answers at {server.base}: {type(error).__name__}"
        raise typer.BadParameter(hint, param_hint="URL") from None


def _chosen(only: Sequence[str]) -> list[Check]:
    try:
        return chosen(only) if only else all_checks()
    except KeyError as error:
        stray = f"no check or area is called {error.args[0]}: see bombyx conformance --list"
        raise typer.BadParameter(stray, param_hint="--only") from None


def _base(url: str) -> str:
    parts = httpx2.URL(url)
    if parts.scheme not in ("http", "https") or not parts.host:
        raise typer.BadParameter("give the API's base URL, such as http://127.0.0.1:8080/v1")
    return url.rstrip("/")


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Progressed]:
    """A bar on stderr, on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}")
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda name: progress.update(task, advance=1, description=name)
