"""Shapes of single request fields: a checker each, so that every engine refuses alike (SPEC 4.1).

A checker returns nothing or raises `RequestError`; it says what the field must be, never what it
was.
"""

from collections.abc import Callable
from typing import Any

from bombyx.errors import RequestError, UnsupportedValue

MAX_STOPS = 16
MAX_TOOLS = 128
MAX_TOP_LOGPROBS = 20
_MAX_TOKEN = 2**31
_EFFORTS = frozenset({"none", "minimal", "low", "medium", "high", "xhigh", "max"})
_REFERENCES = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})
_TEMPLATE_SWITCHES = frozenset({"enable_thinking", "thinking"})

Checker = Callable[[str, Any], None]


def require(condition: object, name: str, sentence: str) -> None:
    """Raise `RequestError` naming the field unless the condition holds."""
    if not condition:
        raise RequestError(sentence, param=name)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def number(low: float, high: float) -> Checker:
    """A number within [low, high]."""

    def check(name: str, value: Any) -> None:
        fits = _is_number(value) and low <= value <= high
        require(fits, name, f"{name} is a number between {low:g} and {high:g}")

    return check


def integer(low: int, high: int) -> Checker:
    """An integer within [low, high]."""

    def check(name: str, value: Any) -> None:
        fits = type(value) is int and low <= value <= high
        require(fits, name, f"{name} is an integer between {low} and {high}")

    return check


def boolean(name: str, value: Any) -> None:
    """Check for true or false."""
    require(isinstance(value, bool), name, f"{name} is true or false")


def anything(name: str, value: Any) -> None:
    """No check: the field has a reader of its own."""


def string(name: str, value: Any) -> None:
    """A string, be it empty."""
    require(isinstance(value, str), name, f"{name} is a string")


def items(name: str, value: Any) -> None:
    """A list; its items have a reader of their own."""
    require(isinstance(value, list), name, f"{name} is a list")


def text(name: str, value: Any) -> None:
    """A non-empty string."""
    require(isinstance(value, str) and value, name, f"{name} is a string")


def stop(name: str, value: Any) -> None:
    """A string or a few of them."""
    stops = [value] if isinstance(value, str) else value
    fits = isinstance(stops, list) and len(stops) <= MAX_STOPS
    fits = fits and all(isinstance(one, str) and one for one in stops)
    require(fits, name, f"{name} is a string or a list of at most {MAX_STOPS} of them")


def effort(name: str, value: Any) -> None:
    """How long to reason."""
    require(isinstance(value, str) and value in _EFFORTS, name, f"{name} has no such level")


def logit_bias(name: str, value: Any) -> None:
    """Token ids to numbers between -100 and 100."""
    fits = isinstance(value, dict) and all(
        token.isdecimal() and _is_number(bias) and -100 <= bias <= 100  # noqa: PLR2004 (OpenAI's)
        for token, bias in value.items()
    )
    require(fits, name, f"{name} maps token ids to numbers between -100 and 100")


def stream_options(name: str, value: Any) -> None:
    """An object of switches."""
    fits = isinstance(value, dict) and all(isinstance(one, bool) for one in value.values())
    require(fits, name, f"{name} is an object of true and false")


def template_switches(name: str, value: Any) -> None:
    """Only the switches for thinking: a template itself would be code inside the worker."""
    fits = isinstance(value, dict) and value.keys() <= _TEMPLATE_SWITCHES
    fits = fits and all(isinstance(one, bool) for one in value.values())
    require(fits, name, f"{name} takes enable_thinking and thinking only, true or false")


def only_text(name: str, value: Any) -> None:
    """Answers are text."""
    require(value == ["text"], name, f'{name} can only be ["text"]')


def tools(name: str, value: Any) -> None:
    """A list of functions, each with a name."""
    fits = isinstance(value, list) and len(value) <= MAX_TOOLS and all(map(_is_function, value))
    require(fits, name, f"{name} is a list of at most {MAX_TOOLS} functions with names")
    for tool in value:
        _stays_here(name, tool["function"].get("parameters"))


def tool_choice(name: str, value: Any) -> None:
    """One of none, auto, required, or a function by name."""
    words = isinstance(value, str) and value in {"none", "auto", "required"}
    require(words or _is_function(value), name, f"{name} is none, auto, required or a function")


def _is_function(value: Any) -> bool:
    if not isinstance(value, dict) or value.get("type") != "function":
        return False
    function = value.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    schema = function.get("parameters") if isinstance(function, dict) else None
    return isinstance(name, str) and bool(name) and isinstance(schema, dict | None)


def response_format(name: str, value: Any) -> None:
    """Text, any JSON object, or JSON of a schema."""
    kind = value.get("type") if isinstance(value, dict) else None
    require(
        isinstance(kind, str) and kind in {"text", "json_object", "json_schema"},
        name,
        f"{name} has type text, json_object or json_schema",
    )
    holder = value.get("json_schema")
    schema = holder.get("schema") if isinstance(holder, dict) else None
    has_schema = kind != "json_schema" or isinstance(schema, dict)
    require(has_schema, name, f"{name} of type json_schema needs a schema")
    _stays_here(name, schema)


def _stays_here(name: str, schema: Any) -> None:
    """No schema refers to an address: an engine that looked there would leave its walls."""
    waiting = [schema]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            for key in _REFERENCES & one.keys():
                if isinstance(one[key], str) and not one[key].startswith("#"):
                    raise UnsupportedValue(f"{name} refers to a schema elsewhere", param=name)
            waiting += one.values()


def only(*served: Any) -> Checker:
    """One of a few values; others exist elsewhere and are not served here."""

    def check(name: str, value: Any) -> None:
        if not any(type(value) is type(one) and value == one for one in served):
            raise UnsupportedValue(f"{name} has a value that is not served here", param=name)

    return check


def off(name: str, value: Any) -> None:
    """False; what it would switch on is not served here."""
    only(False)(name, value)  # noqa: FBT003 (a value, no flag)


def words(*known: str) -> Checker:
    """One of a few words."""

    def check(name: str, value: Any) -> None:
        fits = isinstance(value, str) and value in known
        require(fits, name, f"{name} is {', '.join(known)}")

    return check


def text_or_tokens(name: str, value: Any) -> None:
    """A string, a list of token numbers, or a list of either."""
    is_list = isinstance(value, list) and value
    fits = isinstance(value, str) or (is_list and (_are_tokens(value) or all(map(_is_text, value))))
    require(fits, name, f"{name} is a string, token numbers, or a list of either")


def tokens(name: str, value: Any) -> None:
    """A list of token numbers."""
    fits = isinstance(value, list) and _are_tokens(value)
    require(fits, name, f"{name} is a list of token numbers")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and bool(value) and _are_tokens(value)
    )


def _are_tokens(value: list[Any]) -> bool:
    return all(type(one) is int and 0 <= one < _MAX_TOKEN for one in value)
