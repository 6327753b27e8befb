"""The bounds of a model's prompts, measured: what its record in the keyset tells (SPEC 2.4).

`bytes_factor` and image tokens are read off the files. `overhead` is counted by the engine itself:
what it makes of small conversations beyond their own bytes, such as a default system prompt.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bombyx.chat.paths import CHAT_PATH
from bombyx.errors import BombyxError, SetupError
from worker.models.folder import read_settings
from worker.models.gguf import read_head
from worker.models.kinds import Kind, kind_of
from worker.models.tokenizers import gguf_factor, read_tokenizer, tokenizer_factor
from worker.models.vision import image_tokens

Count = Callable[[str, dict[str, Any]], Awaitable[int | None]]
"""An engine's `count_prompt`."""

OVERHEAD_UNCOUNTED = 256
"""Where an engine cannot count: large models' templates write up to a page of their own."""
SENTENCEPIECE_FACTOR = 11
"""Its files can hold any character map; NFKC is the longest in use."""
_SLACK = 16
"""A date that gets longer, a rule that only a third message brings out."""
_TOOL = {
    "type": "function",
    "function": {
        "name": "f",
        "description": "",
        "parameters": {"type": "object", "properties": {}},
    },
}
_USER = {"role": "user", "content": "a"}
_PROBES: tuple[dict[str, Any], ...] = (
    {"messages": [_USER]},
    {"messages": [{"role": "system", "content": "a"}, _USER]},
    {"messages": [_USER, {"role": "assistant", "content": "a"}, _USER]},
    {"messages": [_USER], "tools": [_TOOL]},
)


@dataclass(frozen=True, slots=True)
class TextBounds:
    """Tokens that a byte of text, and an image, can become."""

    bytes_factor: int
    max_image_tokens: int


def text_bounds(files: dict[str, Path]) -> TextBounds:
    """The bounds by a model's files; raises `SetupError` for a tokenizer that is not known."""
    first = next((path for name, path in files.items() if kind_of(name) is Kind.GGUF), None)
    if first is not None:
        return TextBounds(gguf_factor(read_head(first)), 0)
    config, processor = (_settings(files, name) for name in ("config", "preprocessor_config"))
    return TextBounds(_factor(files), image_tokens(config, processor))


def _factor(files: dict[str, Path]) -> int:
    if "tokenizer.json" in files:
        return tokenizer_factor(read_tokenizer(files["tokenizer.json"]))
    if "tekken.json" in files or any(name.endswith(".tiktoken") for name in files):
        return 1  # both are byte-level BPE, by their format
    if "tokenizer.model" in files:
        return SENTENCEPIECE_FACTOR
    raise SetupError("the model has no tokenizer, so that nothing bounds its prompts")


def _settings(files: dict[str, Path], name: str) -> dict[str, Any]:
    path = files.get(f"{name}.json")
    read = read_settings(path, path.name) if path is not None else {}
    return read if isinstance(read, dict) else {}


async def measure_overhead(count: Count, model: str) -> int:
    """Tokens that the template adds at most, asked of the engine; a fixed guess if it can't say."""
    most = 0
    for probe in _PROBES:
        try:
            counted = await count(CHAT_PATH, {"model": model, **probe})
        except BombyxError:
            continue  # a template that knows no tools, or no system prompt
        if counted is None:
            return OVERHEAD_UNCOUNTED
        most = max(most, counted)
    # What the probe itself says is a token or two; its JSON is slack that a client pays for anyway.
    return most + _SLACK if most else OVERHEAD_UNCOUNTED
