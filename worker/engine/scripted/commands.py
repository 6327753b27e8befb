"""The commands of a prompt, and its text without them."""

import re
from dataclasses import dataclass
from typing import Any

from bombyx.chat.body import Body
from worker.engine.scripted.words import text_of

FAULTS = frozenset({"crash", "hang", "error", "lie_tokens", "cut"})
MAX_COUNT = 100_000
MAX_PACE_MS = 60_000
_DEFAULT_FAULT_AFTER = 3
_MAX_DIGITS = 9
_LINE = re.compile(r"(say|count|think|pace|fault):(.*)|(echo)", re.DOTALL)
SENTENCE = "This is the scripted engine: it obeys a few commands and answers the rest with this."


@dataclass(frozen=True, slots=True)
class Commands:
    """What the last user message asks for; `text` is the rest of it."""

    text: str = ""
    say: str | None = None
    think: int = 0
    pace_seconds: float = 0.0
    fault: str | None = None
    fault_after: int = 0


def read_commands(body: Body) -> Commands:
    """The commands of the last user message."""
    users = [message for message in body["messages"] if message["role"] == "user"]
    text = text_of(users[-1]) if users else ""
    given: dict[str, str] = {}
    rest: list[str] = []
    for line in text.split("\n"):
        match = _LINE.fullmatch(line.strip())
        if match is None:
            rest.append(line)
        else:
            given[match[1] or match[3]] = (match[2] or "").strip()
    return _commands(given, "\n".join(rest).strip())


def _commands(given: dict[str, str], text: str) -> Commands:
    say = given.get("say")
    if "echo" in given:
        say = text
    if "count" in given:
        last = _number(given["count"], MAX_COUNT)
        say = " ".join(str(number) for number in range(1, last + 1))
    fault, _, after = given.get("fault", "").partition(" ")
    return Commands(
        text=text,
        say=say,
        think=_number(given.get("think", ""), MAX_COUNT),
        pace_seconds=_number(given.get("pace", ""), MAX_PACE_MS) / 1000,
        fault=fault if fault in FAULTS else None,
        fault_after=_number(after, MAX_COUNT) if after else _DEFAULT_FAULT_AFTER,
    )


def _number(text: str, most: int) -> int:
    is_number = text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS
    return min(int(text), most) if is_number else 0


def last_message(body: Body) -> dict[str, Any]:
    """The message that is to be answered."""
    message: dict[str, Any] = body["messages"][-1]
    return message
