"""What the scripted engine will answer, piece by piece, before it says the first one."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from bombyx.chat.body import Body, encode_body
from worker.engine.scripted.commands import SENTENCE, Commands, last_message
from worker.engine.scripted.instance import instance
from worker.engine.scripted.tools import arguments, chosen_tools
from worker.engine.scripted.values import Values
from worker.engine.scripted.words import text_of, tokenise

_LOGPROB = -0.125
_OTHER_LOGPROB = -2.5


@dataclass(frozen=True, slots=True)
class Piece:
    """One token: its delta, whether it is reasoning, its log probability where asked for."""

    delta: dict[str, Any]
    is_reasoning: bool = False
    logprobs: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """All tokens of one choice, and why it ends."""

    pieces: tuple[Piece, ...]
    finish_reason: str


def make_plan(body: Body, commands: Commands) -> Plan:
    """The plan of every choice; they are alike."""
    thoughts = (f" {number}" for number in range(1, commands.think + 1))
    pieces = [Piece({"reasoning_content": one}, is_reasoning=True) for one in thoughts]
    functions = chosen_tools(body, commands)
    for index, function in enumerate(functions):
        pieces += _call_pieces(index, function, arguments(function, commands))
    if not functions:
        pieces += _text_pieces(body, commands)
    reason = "tool_calls" if functions else "stop"
    limit = body.get("max_tokens") or body.get("max_completion_tokens")
    if limit is not None and len(pieces) > limit:
        return Plan(tuple(pieces[:limit]), "length")
    return Plan(tuple(pieces), reason)


def _text_pieces(body: Body, commands: Commands) -> list[Piece]:
    tokens = tokenise(_until_stop(_text(body, commands), body.get("stop")))
    top = body.get("top_logprobs") or 0 if body.get("logprobs") else None
    return [Piece({"content": token}, logprobs=_logprobs(token, top)) for token in tokens]


def _text(body: Body, commands: Commands) -> str:
    last = last_message(body)
    said = SENTENCE if commands.say is None else commands.say
    if last["role"] == "tool":
        said = f"The tool says: {text_of(last)}"
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        values = Values(commands.text)
        return encode_body({"": instance(wanted["json_schema"]["schema"], values)}).decode()[4:-1]
    if wanted.get("type") == "json_object" and not _is_object(said):
        return encode_body({"answer": said}).decode()
    return said


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _until_stop(text: str, stops: str | list[str] | None) -> str:
    for stop in [stops] if isinstance(stops, str) else stops or ():
        text = text.partition(stop)[0]
    return text


def _logprobs(token: str, top: int | None) -> dict[str, Any] | None:
    if top is None:
        return None
    others = [_scored(f" other{number}", _OTHER_LOGPROB * number) for number in range(1, top)]
    alternatives = [_scored(token, _LOGPROB), *others][:top]
    entry = {**_scored(token, _LOGPROB), "top_logprobs": alternatives}
    return {"content": [entry], "refusal": None}


def _scored(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "bytes": list(token.encode()), "logprob": logprob}


def _call_pieces(index: int, function: dict[str, Any], text: str) -> list[Piece]:
    """The call's head, then its arguments token by token."""
    digest = hashlib.sha256(f"{function['name']}\0{text}".encode()).hexdigest()
    named = {"name": function["name"], "arguments": ""}
    head = {"index": index, "id": f"call_{digest[:24]}", "type": "function", "function": named}
    parts = [{"index": index, "function": {"arguments": token}} for token in tokenise(text)]
    return [Piece({"tool_calls": [call]}) for call in (head, *parts)]
