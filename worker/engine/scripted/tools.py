"""Whether a request is answered by calling a tool, and with which arguments."""

import re
from typing import Any

from bombyx.chat.body import Body, encode_body
from worker.engine.scripted.commands import Commands, last_message
from worker.engine.scripted.instance import instance
from worker.engine.scripted.values import Values

_TELLING_LETTERS = 4
_ASKS = re.compile(r"(?i)\b(?:tool|function)s?\b")


def chosen_tools(body: Body, commands: Commands) -> list[dict[str, Any]]:
    """The functions to call, none for an answer in words.

    A prompt that names several in full gets them all at once, unless it is told not to.
    """
    first = _chosen_tool(body, commands)
    if first is None:
        return []
    if body.get("parallel_tool_calls") is False or isinstance(body.get("tool_choice"), dict):
        return [first]
    functions = [tool["function"] for tool in body["tools"]]
    text = commands.text.lower()
    named = [one for one in functions if one["name"].lower() in re.findall(r"[\w-]+", text)]
    return named if len(named) > 1 else [first]


def _chosen_tool(body: Body, commands: Commands) -> dict[str, Any] | None:
    """The function to call, None for an answer in words."""
    functions: list[dict[str, Any]] = [tool["function"] for tool in body.get("tools") or ()]
    choice = body.get("tool_choice") or "auto"
    if not functions or choice == "none":
        return None
    if isinstance(choice, dict):
        name = choice["function"]["name"]
        return next((one for one in functions if one["name"] == name), functions[0])
    named = next((one for one in functions if _is_named(one["name"], commands.text)), None)
    if choice == "required":
        return named or functions[0]
    if last_message(body)["role"] != "user" or commands.say is not None:
        return None
    return named or (functions[0] if _ASKS.search(commands.text) else None)


def _is_named(name: str, text: str) -> bool:
    """Whether the prompt speaks of the tool: by its name or a telling word of it."""
    spoken = set(re.findall(r"[a-z0-9]+", text.lower()))
    words = re.findall(r"[a-z0-9]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower())
    telling = [word for word in words if len(word) >= _TELLING_LETTERS]
    return name.lower() in text.lower() or any(word in spoken for word in telling)


def arguments(function: dict[str, Any], commands: Commands) -> str:
    """JSON arguments, with the values that the prompt names."""
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    made = instance({"type": "object", **schema}, Values(commands.text))
    return encode_body(made).decode()
