"""`bombyx attack`: play every adversary of the threat model against a network, and say who won."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from bombyx.attack.against import Against, battlefield
from bombyx.attack.record import Attack, Outcome, Result
from bombyx.attack.run import chosen, run
from bombyx.attack.target import Target
from bombyx.cli.network.interrupt import stoppable
from bombyx.cli.output import JsonOption, Output

FAILED = 1
_STYLES = {Result.DEFEATED: "green", Result.SUCCEEDED: "bold red", Result.ERROR: "yellow"}


def attack(  # noqa: PLR0913 - one parameter per flag
    *,
    only: Annotated[list[str] | None, typer.Option(help="An attack or a role; repeatable.")] = None,
    show_list: Annotated[bool, typer.Option("--list", help="List the attacks and stop.")] = False,
    gateway: Annotated[
        str, typer.Option(help="Attack this gateway instead of a network of our own.")
    ] = "",
    api_key: Annotated[str, typer.Option(help="A key of that gateway.")] = "",
    second_api_key: Annotated[str, typer.Option(help="A key of another account there.")] = "",
    policy: Annotated[
        Path | None, typer.Option(help="Which of its workers clients accept.")
    ] = None,
    simulated_root: Annotated[
        Path | None, typer.Option(help="Its simulated root, to pose as workers of its.")
    ] = None,
    sidecar: Annotated[
        str, typer.Option(help="Attack this sidecar; --api-key is what it is asked with.")
    ] = "",
    client: Annotated[
        str, typer.Option(help="A command to be the client in place of the library.")
    ] = "",
    state: Annotated[
        Path | None, typer.Option(help="Folder of our own network; a temporary one by default.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Attack a network and say what held; exit code 1 unless every attack is defeated."""
    output, attacks = Output(as_json=as_json), chosen(only or [])
    if show_list:
        output.answer({"attacks": [_listed(one) for one in attacks]}, _listing(attacks))
        return
    against = Against(
        gateway=gateway,
        api_key=api_key,
        second_key=second_api_key,
        policy=policy,
        simulated_root=simulated_root,
        sidecar=sidecar,
        state=state,
        client=client,
    )
    with stoppable(), battlefield(against, attacks, say=output.say) as opened:
        outcomes = asyncio.run(_fight(opened, attacks, output))
    _report(outcomes, attacks, output)
    if any(one.result is not Result.DEFEATED for one in outcomes) or not outcomes:
        raise typer.Exit(FAILED)


async def _fight(
    opened: Callable[[], AbstractAsyncContextManager[Target]],
    attacks: Sequence[Attack],
    output: Output,
) -> list[Outcome]:
    """Run them all, a line for each."""
    outcomes: list[Outcome] = []
    async with opened() as target:
        fitting = sum(one.fits(target) for one in attacks)
        async for outcome in run(attacks, target):
            outcomes.append(outcome)
            output.say(_line(outcome, len(outcomes), fitting))
    return outcomes


def _line(outcome: Outcome, number: int, of: int) -> Text:
    line = Text(f"{number:3}/{of}  {outcome.attack.role.value:9}  ")
    line.append(f"{outcome.result.value:9}", style=_STYLES[outcome.result])
    return line.append(f"  {outcome.attack.name}: {outcome.observed}")


def _report(outcomes: Sequence[Outcome], attacks: Sequence[Attack], output: Output) -> None:
    ran = {one.attack.name for one in outcomes}
    skipped = [one.name for one in attacks if one.name not in ran]
    table = Table("result", "attacks", title="\nOutcome")
    for result in Result:
        names = [one.attack.name for one in outcomes if one.result is result]
        shown = "" if result is Result.DEFEATED else ": " + ", ".join(names)
        table.add_row(
            Text(result.value, style=_STYLES[result]), f"{len(names)}{shown if names else ''}"
        )
    table.add_row("not tried", f"{len(skipped)}: the target lacks what they need")
    document = {"attacks": [one.document() for one in outcomes], "skipped": skipped}
    output.answer(document, table)


def _listed(attack: Attack) -> dict[str, str]:
    return {
        "name": attack.name,
        "role": attack.role.value,
        "defence": attack.defence.value,
        "tries": attack.tries,
        "expected": attack.expected,
    }


def _listing(attacks: Sequence[Attack]) -> Table:
    table = Table("attack", "role", "what it tries")
    for one in attacks:
        table.add_row(one.name, one.role.value, one.tries)
    return table
