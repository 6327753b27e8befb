"""`bombyx owner`: what a worker's owner does outside of the enclave."""

import time
from typing import Annotated

import typer

from bombyx.cli.output import JsonOption, Output
from ton.owner.clock import unix_seconds
from ton.owner.folders import states
from ton.owner.payouts import command as payouts
from ton.owner.payouts.command import StateOption

owner = typer.Typer(no_args_is_help=True, add_completion=False)
payouts.add_to(owner)

GatewayOption = Annotated[
    list[str] | None,
    typer.Option(help="Ask this gateway, in place of those that the worker serves; repeatable."),
]
ModelOption = Annotated[
    list[str] | None,
    typer.Option(help="Where no worker runs yet: a model to tell prices of; repeatable."),
]


@owner.callback()
def _group() -> None:
    """See what your workers earn and why they are asked or not."""


@owner.command()
def status(
    *,
    state: StateOption = None,
    gateway: GatewayOption = None,
    model: ModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """What workers earn and do, what is wrong in a sentence each, and what others ask."""
    from ton.owner.status.asking import look  # noqa: PLC0415 - keeps `bombyx --help` quick
    from ton.owner.status.document import owner_document  # noqa: PLC0415
    from ton.owner.status.shown import shown  # noqa: PLC0415

    sights = look(states(state), gateway or (), models=model or (), now=unix_seconds)
    document = owner_document(sights, at=unix_seconds())
    Output(as_json=as_json).answer(document, *shown(document))


@owner.command()
def page(
    *,
    state: StateOption = None,
    gateway: GatewayOption = None,
    model: ModelOption = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """The same as a page of this machine, until Ctrl-C; only who has its address may see it."""
    from ton.owner.page.serving import serve  # noqa: PLC0415 - keeps `bombyx --help` quick
    from ton.owner.status.asking import look  # noqa: PLC0415
    from ton.owner.status.document import owner_document  # noqa: PLC0415

    named, output = states(state), Output(as_json=as_json)

    def told() -> dict[str, object]:
        sights = look(named, gateway or (), models=model or (), now=unix_seconds)
        return owner_document(sights, at=unix_seconds())

    serve(told, port=port, ready=lambda url: output.answer({"url": url}, url), now=time.monotonic)
