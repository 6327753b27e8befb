"""The smallest JSON value that fits a schema, filled with what the prompt names.

Knows the part of JSON Schema that OpenAI's structured outputs take, and enough of the rest for
tests. No schema is followed deeper than `MAX_DEPTH`.
"""

import math
from typing import Any

from worker.engine.scripted.values import Values

MAX_DEPTH = 24
MAX_ITEMS = 64
_TIRED = 6
"""From this depth on optional parts are left out and null is chosen, so that recursion ends."""
_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def instance(schema: Any, values: Values) -> Any:
    """A value of `schema`, None beyond what is understood."""
    return _Builder(schema, values).build(schema, "", 0)


class _Builder:
    def __init__(self, root: Any, values: Values) -> None:
        self._root = root
        self._values = values

    def build(self, schema: Any, name: str, depth: int) -> Any:
        schema = self._resolve(schema, depth)
        if depth > MAX_DEPTH or not isinstance(schema, dict):
            return None
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._chosen(schema["enum"], name)
        return self._of_kind(_kind(schema, depth), schema, name=name, depth=depth)

    def _of_kind(self, kind: str, schema: dict[str, Any], *, name: str, depth: int) -> Any:
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, name, depth)
            case "integer" | "number":
                return self._number(schema, name, whole=kind == "integer")
            case "boolean":
                return (self._values.named(name) or "true").lower() not in {"false", "no", "off"}
            case "string":
                return self._string(schema, name)
            case _:
                return None

    def _array(self, schema: dict[str, Any], name: str, depth: int) -> list[Any]:
        count = max(schema.get("minItems", 0), 1 if depth < _TIRED else 0)
        count = min(count, schema.get("maxItems", count), MAX_ITEMS)
        return [self.build(schema.get("items", {}), name, depth + 1) for _ in range(count)]

    def _resolve(self, schema: Any, depth: int) -> Any:
        """Follow references and pick an alternative."""
        for _ in range(MAX_DEPTH):
            if not isinstance(schema, dict):
                return schema
            options = schema.get("anyOf") or schema.get("oneOf")
            if isinstance(schema.get("$ref"), str):
                schema = self._referred(schema["$ref"])
            elif isinstance(options, list):
                schema = _option(options, depth)
            elif isinstance(schema.get("allOf"), list):
                schema = _merged(schema)
            else:
                return schema
        return None

    def _referred(self, pointer: str) -> Any:
        found = self._root
        for part in pointer.removeprefix("#").split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if isinstance(found, dict) else None
        return found

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        wanted = schema.get("required")
        if wanted is None:
            wanted = list(properties) if depth < _TIRED else []
        return {one: self.build(properties.get(one, {}), one, depth + 1) for one in wanted}

    def _chosen(self, options: list[Any], name: str) -> Any:
        named = self._values.named(name) if name else None
        for option in options:
            if isinstance(option, str) and named and option.lower() == named.lower():
                return option
        said = (one for one in options if isinstance(one, str) and self._values.mentions(one))
        return next(said, options[0])

    def _number(self, schema: dict[str, Any], name: str, *, whole: bool) -> float:
        named = _as_number(self._values.named(name) if name else None)
        value = named if named is not None else self._values.number()
        low = schema.get("minimum", -math.inf)
        low = max(low, schema.get("exclusiveMinimum", -math.inf) + 1)
        high = schema.get("maximum", math.inf)
        high = min(high, schema.get("exclusiveMaximum", math.inf) - 1)
        value = min(max(0.0 if value is None else value, float(low)), float(high))
        return math.ceil(value) if whole else value

    def _string(self, schema: dict[str, Any], name: str) -> str:
        fixed = _FORMATS.get(schema.get("format", ""))
        found = (self._values.named(name) if name else None) or fixed or self._values.string()
        found = (found or name or "text").ljust(schema.get("minLength", 0), "x")
        most: int | None = schema.get("maxLength")
        return found[:most]


def _kind(schema: dict[str, Any], depth: int) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        others = [one for one in kind if one != "null"]
        if not others or (depth > _TIRED and "null" in kind):
            return "null"
        return str(others[0])
    if kind is None:
        return "object" if "properties" in schema else "string"
    return str(kind)


def _option(options: list[Any], depth: int) -> Any:
    empty = [one for one in options if isinstance(one, dict) and one.get("type") == "null"]
    others = [one for one in options if one not in empty]
    return empty[0] if empty and (depth > _TIRED or not others) else (others or [None])[0]


def _merged(schema: dict[str, Any]) -> dict[str, Any]:
    merged = {key: value for key, value in schema.items() if key != "allOf"}
    for part in schema["allOf"]:
        merged |= part if isinstance(part, dict) else {}
    return merged


def _as_number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
