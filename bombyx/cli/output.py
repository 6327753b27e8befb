"""What commands print, and where: answers on stdout, everything else on stderr.

With `--json`, stdout is exactly one JSON document on one line, also for a command that fails; a
server's is its ready line. Programs read stdout, people and logs have stderr.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bombyx.errors import BombyxError, envelope

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout; the rest on stderr.")
]


@dataclass(slots=True)
class _Stdout:
    """Whether this process has printed its document, so that an error cannot add a second."""

    answered: bool = False


_stdout = _Stdout()


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """How one command speaks: `say` along the way, `answer` once."""

    as_json: bool

    def say(self, *what: "RenderableType") -> None:
        """Show progress or explanation; it never mixes with a JSON document.

        Strings appear as they are, since a model's answer may look like markup; pass rich's `Text`
        or `Table` for style.
        """
        _console(stderr=self.as_json).print(*what, sep="\n", markup=False, highlight=False)

    def answer(self, document: Mapping[str, Any], *shown: "RenderableType") -> None:
        """Give the result, or a server's ready line: the document, or what people are `shown`."""
        if self.as_json:
            _print_document(document)
        else:
            self.say(*shown)
        sys.stdout.flush()


def fail(error: BombyxError, *, as_json: bool) -> None:
    """One sentence on stderr, each note of the error as a hint below it; never a traceback."""
    console = _console(stderr=True)
    console.print(error.message, style="red", markup=False, highlight=False)
    for note in getattr(error, "__notes__", ()):
        console.print(f"hint: {note}", markup=False, highlight=False)
    if as_json and not _stdout.answered:
        _print_document(envelope(error))
        sys.stdout.flush()


def _print_document(document: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(document, separators=(",", ":")) + "\n")
    _stdout.answered = True


def _console(*, stderr: bool) -> "Console":
    """Made anew each time: a console keeps the stream and width that it first saw."""
    from rich.console import Console  # noqa: PLC0415 - a third of the time that --help takes

    return Console(stderr=stderr, soft_wrap=True)
