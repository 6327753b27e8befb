"""`bombyx receipt audit`: recount a saved answer and hold the signed counts against it.

A receipt proves what a worker signed, not that it counted right. Whoever has the text and the
model's tokenizer can count again: this is what makes a worker that inflates its counts visible.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from platformdirs import user_cache_path

from bombyx.attestation.keyset import Keyset
from bombyx.chat.body import Body, parse_body
from bombyx.cli.output import JsonOption, Output
from bombyx.cli.receipt_file import ReceiptFile, check_receipt_file, read_limited
from bombyx.cli.recount import (
    Part,
    Tokenizer,
    Verdict,
    read_answer,
    recount_completion,
    recount_prompt,
)
from bombyx.cli.tokenizer_files import find_model, is_model, open_tokenizer
from bombyx.client.transcripts import TranscriptFile
from bombyx.errors import BadAnswer, BadReceipt, SetupError
from bombyx.money.cost import Rates, Tokens, price
from bombyx.money.statement import Statement
from bombyx.settings import state_directory

MAX_TRANSCRIPT_BYTES = 256 * 2**20
_FAILED = 1


@dataclass(frozen=True, slots=True)
class Audit:
    """A recount; `proven` says that the tokenizer is that of the weights in the receipt."""

    statement: Statement
    prompt: Part
    completion: Part
    tokenizer: Path
    proven: bool

    @property
    def verdict(self) -> Verdict:
        """The worse of both parts."""
        found = {self.prompt.verdict, self.completion.verdict}
        return next(one for one in Verdict if one in found)

    @property
    def excess_nano(self) -> int:
        """What the client was charged above the most that is honest."""
        told, statement = self.statement.tokens, self.statement
        prompt = min(told.prompt, told.prompt if self.prompt.most is None else self.prompt.most)
        most = self.completion.most
        completion = min(told.completion, told.completion if most is None else most)
        honest = Tokens(
            prompt=prompt,
            cached=min(told.cached, prompt),
            completion=completion,
            reasoning=min(told.reasoning, completion),
        )
        cost = price(honest, Rates.of(statement.prices), statement.fee_bps)
        return int(statement.charge_nano) - cost.charge


def audit(
    file: Annotated[Path, typer.Argument(help="The receipt file.")],
    *,
    transcript: Annotated[Path, typer.Option(help="The saved answer, *.transcript.json.")],
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="A .gguf or tokenizer.json; else the model's own file is looked for."),
    ] = None,
    receipt_key: Annotated[
        str | None, typer.Option(help="The worker's receipt key in hex, if the file lacks it.")
    ] = None,
    state: Annotated[Path | None, typer.Option(help="Where models lie.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Recount a saved answer with the model's tokenizer; exits 1 if too many tokens were signed."""
    data = read_limited(file)
    statement = check_receipt_file(data, receipt_key).statement
    held = _read_transcript(transcript, statement)
    path = _tokenizer_of(statement, tokenizer, state)
    overhead = _overhead(msgspec.json.decode(data, type=ReceiptFile), statement)
    with _reading(path) as counting:
        found = _recount(statement, held, counting, path, overhead)
    Output(as_json=as_json).answer(_document(found), *_shown(found))
    if found.verdict is Verdict.OVERCOUNTED:
        raise typer.Exit(_FAILED)


@contextmanager
def _reading(path: Path) -> Iterator[Tokenizer]:
    with open_tokenizer(path) as tokenizer:
        yield tokenizer


def _recount(
    statement: Statement, held: TranscriptFile, counting: Tokenizer, path: Path, overhead: int
) -> Audit:
    request: Body = parse_body(held.request.encode())
    answer = read_answer(request, held.answer)
    return Audit(
        statement=statement,
        prompt=recount_prompt(request, statement.tokens, counting, overhead=overhead),
        completion=recount_completion(request, answer, statement.tokens, counting),
        tokenizer=path,
        proven=path.suffix == ".gguf" and is_model(path, statement.weights),
    )


def _read_transcript(path: Path, statement: Statement) -> TranscriptFile:
    data = read_limited(path, MAX_TRANSCRIPT_BYTES)
    try:
        held = msgspec.json.decode(data, type=TranscriptFile)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise BadAnswer(f"{path} is no transcript") from None
    if (held.id, held.c) != (statement.id, statement.c):
        raise BadReceipt("the receipt is of another answer than the transcript")
    return held


def _tokenizer_of(statement: Statement, given: Path | None, state: Path | None) -> Path:
    if given is not None:
        return given
    folders = (state_directory(state), user_cache_path("bombyx"))
    found = find_model(statement.weights, folders)
    if found is None:
        raise SetupError(
            f"the file of {statement.model} is not on this machine: name its .gguf or "
            "tokenizer.json with --tokenizer"
        )
    return found


def _overhead(held: ReceiptFile, statement: Statement) -> int:
    models = held.keyset.models if isinstance(held.keyset, Keyset) else []
    return max((one.overhead for one in models if one.id == statement.model), default=0)


def _document(found: Audit) -> dict[str, Any]:
    return {
        "verdict": found.verdict.value,
        "id": found.statement.id,
        "prompt": _part(found.prompt),
        "completion": _part(found.completion),
        "excess_nano": str(found.excess_nano),
        "tokenizer": {"file": str(found.tokenizer), "proven": found.proven},
    }


def _part(part: Part) -> dict[str, Any]:
    return {
        "verdict": part.verdict.value,
        "signed": part.signed,
        "recounted": part.recounted,
        "most": part.most,
        "allowances": list(part.why),
    }


def _shown(found: Audit) -> Iterator[str]:
    yield f"{found.verdict.value}: {found.statement.model}, request {found.statement.id}"
    for name, part in (("prompt", found.prompt), ("completion", found.completion)):
        counted = "not recounted" if part.recounted is None else f"recounted {part.recounted}"
        most = "" if part.most is None else f", at most {part.most} honest"
        yield f"  {name:10}  signed {part.signed}, {counted}{most} ({'; '.join(part.why)})"
    if found.excess_nano:
        yield f"  charged {found.excess_nano} nano above the most that is honest"
    whose = "of the very weights in the receipt" if found.proven else "named by you"
    yield f"  tokenizer   {found.tokenizer} ({whose})"
    yield "  cached tokens are the worker's word: a recount cannot see them"
