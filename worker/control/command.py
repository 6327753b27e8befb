"""`bombyx worker status|pause|resume`: orders to a worker that runs on this machine."""

from pathlib import Path
from typing import Annotated, Any

import typer

from bombyx.cli.output import JsonOption, Output
from bombyx.control.asking import give
from bombyx.control.wire import Order
from bombyx.settings import state_directory

StateOption = Annotated[Path | None, typer.Option("--state", help="The worker's state folder.")]


def status(*, state: StateOption = None, as_json: JsonOption = False) -> None:
    """What a running worker does, and what is wrong with it."""
    _tell(give(state_directory(state), Order("status")), as_json=as_json)


def pause(*, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Take no new requests; those that run end in peace. A new start of the worker resumes."""
    _tell(give(state_directory(state), Order("pause")), as_json=as_json)


def resume(*, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Take requests again."""
    _tell(give(state_directory(state), Order("resume")), as_json=as_json)


def _tell(told: dict[str, Any], *, as_json: bool) -> None:
    Output(as_json=as_json).answer(told, *lines(told))


def lines(told: dict[str, Any]) -> list[str]:
    """A status for people."""
    does = "is paused" if told["paused"] else f"serves {', '.join(told['gateways'])}"
    if not told["paused"] and not told["gateways"]:
        does = "is linked to no gateway yet"
    state = told["state"]
    return [
        f"worker {told['worker'][:16]} {does}",
        f"models {', '.join(told['models'])}; {told['running']} requests run",
        f"{told['undisposed']} statements wait for a gateway's word",
        f"journal sealed by {state['sealed_by']}, rollback {state['rollback']}: {state['reason']}",
        *(f"WRONG: {one['sentence']}" for one in told["notices"]),
    ]
