"""`bombyx`: finds the command asked for, runs it, and turns errors into one sentence.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted.
"""

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from bombyx.cli import catalogue, output
from bombyx.errors import BombyxError

# For whoever mends the software itself: lets unforeseen errors through as they are.
TRACEBACK_VARIABLE = "BOMBYX_TRACEBACK"
FAILED, INTERRUPTED = 1, 130


class _Commands(TyperGroup):
    """The top-level group: names and summaries from the catalogue, code only when it is run."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - typer's signature
        points = catalogue.installed()
        return [name for name, point in points.items() if catalogue.is_present(point)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - typer's signature
        """A stand-in that has a name and a summary, enough for --help and completion."""
        if cmd_name not in catalogue.installed():
            return None
        stand_in = typer.Typer(add_completion=False)
        stand_in.command(cmd_name, help=catalogue.SUMMARIES.get(cmd_name))(_stand_in)
        return typer.main.get_command(stand_in)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        point = catalogue.installed().get(args[0])
        if point is None:
            # typer looks here for a near miss to suggest.
            self.commands = {name: self.get_command(ctx, name) for name in catalogue.installed()}
            return super().resolve_command(ctx, args)
        return point.name, _command(point.name, catalogue.load(point)), args[1:]


def _stand_in() -> None:
    """Never run: `resolve_command` puts the real command in its place."""


def _command(name: str, target: Any) -> Any:
    """A Typer stays a group even with one command; a function becomes a command."""
    if isinstance(target, typer.Typer):
        group = typer.main.get_group(target)
        group.name = name
        return group
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command(name)(target)
    return typer.main.get_command(single)


app = typer.Typer(
    name="bombyx",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:  # noqa: FBT001 - typer calls it by position
    if value:
        from importlib.metadata import version  # noqa: PLC0415 - only this flag needs it

        typer.echo(f"bombyx {version('bombyx')}")
        raise typer.Exit


@app.callback()
def bombyx(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Confidential inference for anything that speaks to OpenAI's API."""


def main(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; every error ends here."""
    try:
        return _exit_code(typer.main.get_command(app).main(list(arguments), prog_name="bombyx"))
    except SystemExit as ended:
        return _exit_code(ended.code)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BombyxError as error:
        output.fail(error, as_json="--json" in arguments)
        return FAILED
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        # The message of an unforeseen error may hold content; its type cannot.
        kind = type(error).__name__
        output.fail(
            BombyxError(f"an unforeseen {kind}; {TRACEBACK_VARIABLE}=1 shows where it happened"),
            as_json="--json" in arguments,
        )
        return FAILED


def _exit_code(code: Any) -> int:
    return code if isinstance(code, int) else 0 if code is None else FAILED


def run() -> None:
    """The console script."""
    sys.exit(main(sys.argv[1:]))
