"""Values that a prompt names: `city=Paris`, `"quoted"`, numbers, proper names."""

import re

_QUOTED = re.compile(r'"([^"\n]+)"|(?<!\w)\'([^\'\n]+)\'(?!\w)|`([^`\n]+)`')
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w])")
_PROPER = re.compile(r"(?<=[\w,;:] )[A-Z][\w-]*(?: [A-Z][\w-]*)*")
_TRAILING = " .,;:!?\"'`"


class Values:
    """The values of one prompt; those without a name are given out once each, in order."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._strings = [one or two or three for one, two, three in _QUOTED.findall(text)]
        self._strings += [name for name in _PROPER.findall(text) if name not in self._strings]
        self._numbers = [float(number) for number in _NUMBER.findall(text)]

    def named(self, name: str) -> str | None:
        """The value in `name=value`, `name: value` or `name is value`."""
        spoken = re.escape(name).replace("_", "[_ ]")
        pattern = rf"(?i)(?<!\w)[\"'`]?{spoken}[\"'`]?\s*(?:=|:|\bis\b|\bto\b)\s*(\"[^\"\n]+\"|\S+)"
        match = re.search(pattern, self._text)
        return match[1].strip(_TRAILING) if match else None

    def mentions(self, value: str) -> bool:
        """Whether the prompt holds the value."""
        return bool(value) and value.lower() in self._text.lower()

    def string(self) -> str | None:
        """The next quoted string or proper name."""
        return self._strings.pop(0) if self._strings else None

    def number(self) -> float | None:
        """The next number."""
        return self._numbers.pop(0) if self._numbers else None
