"""How many tokens one byte of text can become, read off a tokenizer's rules (SPEC 2.4).

A token covers at least one byte of what the tokenizer sees; so the question is only how much its
normalisation can lengthen a text. The numbers are upper bounds over all of Unicode:

* none, or anything that only shortens: 1
* lower-casing: 2 (U+023A, two bytes, becomes three)
* NFC, NFD: 3 (U+0390, two bytes, becomes six; U+1D160 four and twelve)
* NFKC, NFKD, SentencePiece's character maps: 11 (U+FDFA, three bytes, becomes 33)

Steps multiply. What is not known here is refused: a bound that is too small turns prompts away.
"""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from bombyx.errors import SetupError
from worker.models.gguf import GgufHead

MAX_TOKENIZER_BYTES: Final = 128 * 2**20
"""Vocabularies of 260 000 tokens with their merges have some 35 MiB."""
MAX_FACTOR: Final = 64
"""As the keyset's field has it."""
_CANONICAL, _COMPATIBLE, _LOWER = 3, 11, 2
_PREFIX = 2
"""A space put before each piece: a piece of one byte has two then."""
_MARK = "▁"
_PLAIN: Final = frozenset({"Strip", "StripAccents", "Nmt", "ByteLevel"})
_FORMS: Final = {
    "NFC": _CANONICAL,
    "NFD": _CANONICAL,
    "NFKC": _COMPATIBLE,
    "NFKD": _COMPATIBLE,
    "Precompiled": _COMPATIBLE,
    "Lowercase": _LOWER,
}
_MODELS: Final = frozenset({"BPE", "Unigram", "WordPiece", "WordLevel"})

# llama.cpp has tokenizers of its own: no normalisation but for these two.
_GGUF_MODELS: Final = {
    "gpt2": 1,
    "llama": 1,
    "rwkv": 1,
    "bert": _CANONICAL * _LOWER,
    "t5": _COMPATIBLE,
}


def gguf_factor(head: GgufHead) -> int:
    """`bytes_factor` of a GGUF's tokenizer; raises `SetupError` for one that is not known."""
    name = head.text("tokenizer.ggml.model")
    if name not in _GGUF_MODELS:
        raise SetupError(f"the GGUF has the tokenizer {name[:32] or 'none'!r}; it is not known")
    if head.lengths.get("tokenizer.ggml.precompiled_charsmap"):
        return _COMPATIBLE
    return _GGUF_MODELS[name]


def read_tokenizer(path: Path) -> dict[str, Any]:
    """A `tokenizer.json`; raises `SetupError`."""
    try:
        if path.stat().st_size > MAX_TOKENIZER_BYTES:
            raise SetupError(f"{path.name}: is too long for a tokenizer")
        read = json.loads(path.read_bytes())
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise SetupError(f"{path.name}: is no JSON") from None
    if not isinstance(read, dict) or not isinstance(read.get("model"), dict):
        raise SetupError(f"{path.name}: is no tokenizer")
    return read


def tokenizer_factor(tokenizer: Mapping[str, Any]) -> int:
    """`bytes_factor` of a `tokenizer.json`; raises `SetupError` for rules that are not known."""
    model = tokenizer["model"]
    # Old files leave the type out; only BPE has merges.
    kind = model.get("type") or ("BPE" if "merges" in model else "WordPiece")
    if kind not in _MODELS:
        raise SetupError(f"the tokenizer's model {str(kind)[:32]!r} is not known")
    vocabulary = model.get("vocab")
    known = set(vocabulary) if isinstance(vocabulary, dict) else set()
    known |= {one[0] for one in vocabulary} if isinstance(vocabulary, list) else set()
    if "ByteLevel" in json.dumps([tokenizer.get("normalizer"), tokenizer.get("pre_tokenizer")]):
        known = set()  # its vocabulary spells bytes, not characters
    factor = _normalizer(tokenizer.get("normalizer"), known)
    factor *= _pre_tokenizer(tokenizer.get("pre_tokenizer"), known)
    if factor > MAX_FACTOR:
        raise SetupError("the tokenizer's rules have no useful bound")
    return factor


def _steps(rule: Any, inner: str) -> list[dict[str, Any]]:
    """A rule's steps: itself, or those of a sequence, however deep."""
    if not isinstance(rule, dict):
        return []
    if rule.get("type") != "Sequence":
        return [rule]
    return [step for one in rule.get(inner) or () for step in _steps(one, inner)]


def _product(steps: list[dict[str, Any]], measure: Callable[[dict[str, Any]], int]) -> int:
    return math.prod(measure(step) for step in steps)


def _normalizer(rule: Any, known: set[str]) -> int:
    return _product(_steps(rule, "normalizers"), lambda step: _normalizing(step, known))


def _normalizing(step: dict[str, Any], known: set[str]) -> int:
    kind = step.get("type")
    if kind in _PLAIN or kind == "Prepend":  # one mark a text: the overhead's matter
        return 1
    if kind in _FORMS:
        return _FORMS[kind]
    if kind == "BertNormalizer":
        lower = _LOWER if step.get("lowercase", True) else 1
        return lower * _CANONICAL
    if kind == "Replace":
        return _replacing(step, known)
    raise SetupError(f"the tokenizer normalises by {str(kind)[:32]!r}, which is not known")


def _replacing(step: dict[str, Any], known: set[str]) -> int:
    content, pattern = str(step.get("content", "")), step.get("pattern")
    told = pattern.get("String") if isinstance(pattern, dict) else None
    # A pattern that is an expression may match a single byte.
    least = len(told.encode()) if isinstance(told, str) and told else 1
    # Characters of the vocabulary are a token each, others one for each byte.
    most = sum(1 if char in known else len(char.encode()) for char in content)
    return max(1, math.ceil(most / least))


def _pre_tokenizer(rule: Any, known: set[str]) -> int:
    """Splitting adds nothing; a space or mark before every piece does."""
    steps = _steps(rule, "pretokenizers")
    factor = 1
    for place, step in enumerate(steps):
        if step.get("type") == "Metaspace" and _MARK not in known:
            factor *= len(_MARK.encode())
        if place and _prefixes(step):
            factor *= _PREFIX
    return factor


def _prefixes(step: dict[str, Any]) -> bool:
    if step.get("type") == "ByteLevel":
        return bool(step.get("add_prefix_space", False))
    if step.get("type") != "Metaspace":
        return False
    scheme = step.get("prepend_scheme", "always" if step.get("add_prefix_space", True) else "never")
    return bool(scheme == "always")
