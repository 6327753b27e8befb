"""SPEC 2.4: the bounds of a model's record are measured, and hold for its real tokenizer."""

import json
from pathlib import Path
from typing import Any

import pytest

from bombyx.chat.size import max_input_bound
from bombyx.errors import RequestError, SetupError
from tests.worker.models.folders import GGUF, TOKENIZER, files, gguf, write
from worker.models.bounds import (
    OVERHEAD_UNCOUNTED,
    SENTENCEPIECE_FACTOR,
    TextBounds,
    measure_overhead,
    text_bounds,
)
from worker.models.gguf import read_head
from worker.models.manifests import listed_files
from worker.models.tokenizers import gguf_factor, read_tokenizer, tokenizer_factor
from worker.models.vision import image_tokens

BPE: dict[str, Any] = {"type": "BPE", "vocab": {"▁": 0}, "merges": []}
# Of each step the text that it lengthens most.
HOSTILE = ["\ufdfa" * 50, "\u0390" * 50, "\U0001d160" * 50, "\u023a" * 50, "a " * 50, " " * 99]


def sequence(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(steps), "pretokenizers": list(steps)}


@pytest.mark.parametrize(
    ("rules", "factor"),
    [
        ({}, 1),
        ({"normalizer": {"type": "NFC"}}, 3),
        ({"normalizer": {"type": "NFKC"}}, 11),
        ({"normalizer": {"type": "NFKD"}}, 11),
        ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": ""}}, 11),
        ({"normalizer": {"type": "Lowercase"}}, 2),
        ({"normalizer": {"type": "Prepend", "prepend": "▁"}}, 1),
        ({"normalizer": {"type": "BertNormalizer", "lowercase": False}}, 3),
        ({"normalizer": {"type": "BertNormalizer"}}, 6),
        ({"normalizer": sequence({"type": "NFC"}, {"type": "Lowercase"})}, 6),
        ({"normalizer": sequence(sequence({"type": "NFKC"}), {"type": "Strip"})}, 11),
        ({"normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}}, 3),
        ({"normalizer": {"type": "Replace", "pattern": {"Regex": " +"}, "content": "ab"}}, 2),
        ({"normalizer": {"type": "Replace", "pattern": {"String": "``"}, "content": '"'}}, 1),
        ({"pre_tokenizer": {"type": "Metaspace", "prepend_scheme": "always"}}, 3),
        ({"pre_tokenizer": {"type": "Metaspace", "prepend_scheme": "always"}, "model": BPE}, 1),
        (
            {
                "pre_tokenizer": sequence({"type": "Digits"}, {"type": "Metaspace"}),
                "model": BPE,
            },
            2,
        ),
        (
            {
                "pre_tokenizer": sequence(
                    {"type": "Digits"}, {"type": "ByteLevel", "add_prefix_space": True}
                )
            },
            2,
        ),
        ({"pre_tokenizer": None, "model": {"vocab": {}, "merges": []}}, 1),
        ({"pre_tokenizer": None, "model": {"type": "Unigram", "vocab": [["a", -1.0]]}}, 1),
    ],
)
def test_the_factor_follows_from_the_rules(rules: dict[str, Any], factor: int) -> None:
    assert tokenizer_factor({**TOKENIZER, **rules}) == factor


@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        ({"model": {"type": "Neural"}}, "model 'Neural' is not known"),
        ({"normalizer": {"type": "Translate"}}, "normalises by 'Translate'"),
        (
            {"normalizer": sequence({"type": "NFKC"}, {"type": "NFKC"})},
            "have no useful bound",
        ),
    ],
)
def test_rules_that_nobody_knows_are_refused(rules: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SetupError, match=sentence):
        tokenizer_factor({**TOKENIZER, **rules})


@pytest.mark.parametrize(
    "normalizer",
    [None, {"type": "NFC"}, {"type": "NFD"}, {"type": "NFKC"}, {"type": "NFKD"},
     {"type": "Lowercase"}, sequence({"type": "NFKC"}, {"type": "Lowercase"})],
)  # fmt: skip
def test_the_real_library_stays_below_the_bound_for_the_worst_texts(
    normalizer: dict[str, Any] | None, tmp_path: Path
) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    rules = {
        **TOKENIZER,
        "added_tokens": [],
        "decoder": None,
        "normalizer": normalizer,
        "post_processor": None,
        "model": {
            "type": "BPE", "vocab": {char: number for number, char in enumerate(alphabet)},
            "merges": [], "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
        },
        "pre_tokenizer": {
            "type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
            "use_regex": True,
        },
    }  # fmt: skip
    (tmp_path / "tokenizer.json").write_text(json.dumps(rules))
    real = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    factor = tokenizer_factor(read_tokenizer(tmp_path / "tokenizer.json"))
    grown = [len(real.encode(text).ids) / len(text.encode()) for text in HOSTILE]
    assert max(grown) <= factor
    assert max(grown) > factor / 2.1, "the bound is not far from what happens"


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    for bad in (b"{", b"[]", b"{}", b"[" * 100_000):
        path.write_bytes(bad)
        with pytest.raises(SetupError, match=r"tokenizer.json: is no"):
            read_tokenizer(path)
    with pytest.raises(SetupError, match="cannot be read"):
        read_tokenizer(tmp_path / "absent")


def test_a_real_gguf_tells_its_tokenizer() -> None:
    head = read_head(GGUF)
    assert head.text("general.architecture") == "llama"
    assert head.text("tokenizer.ggml.model") == "gpt2"
    assert head.lengths["tokenizer.ggml.tokens"] == 1216
    assert head.values["tokenizer.ggml.add_bos_token"] is False
    assert head.text("absent") == ""
    assert text_bounds({GGUF.name: GGUF}) == TextBounds(bytes_factor=1, max_image_tokens=0)


@pytest.mark.parametrize(
    ("name", "factor"), [("gpt2", 1), ("llama", 1), ("bert", 6), ("t5", 11), ("rwkv", 1)]
)
def test_each_tokenizer_of_gguf_has_its_factor(tmp_path: Path, name: str, factor: int) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(gguf({"tokenizer.ggml.model": name}))
    assert gguf_factor(read_head(path)) == factor
    path.write_bytes(
        gguf({"tokenizer.ggml.model": name}, {"tokenizer.ggml.precompiled_charsmap": ["x"]})
    )
    assert gguf_factor(read_head(path)) == 11


def test_a_gguf_of_an_unknown_tokenizer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(gguf({"tokenizer.ggml.model": "new"}))
    with pytest.raises(SetupError, match="tokenizer 'new'"):
        gguf_factor(read_head(path))
    path.write_bytes(gguf({}))
    with pytest.raises(SetupError, match="tokenizer 'none'"):
        gguf_factor(read_head(path))


def test_a_torn_gguf_is_refused_at_every_length(tmp_path: Path) -> None:
    whole = gguf({"a": "b"}, {"c": ["d", "e"]})
    path = tmp_path / "x.gguf"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(SetupError):
            read_head(path)


@pytest.mark.parametrize("at", range(4, 24))
def test_no_changed_byte_of_the_head_does_harm(tmp_path: Path, at: int) -> None:
    whole = bytearray(gguf({"a": "b"}, {"c": ["d", "e"]}))
    whole[at] ^= 0xFF
    path = tmp_path / "x.gguf"
    path.write_bytes(whole)
    try:
        read_head(path)
    except SetupError:
        return
    assert 8 <= at < 16, "only the number of tensors may be anything"


@pytest.mark.parametrize(
    ("config", "processor", "tokens"),
    [
        ({}, {}, 0),
        ({"vision_config": {}}, {}, 0),
        ({"vision_config": {}, "mm_tokens_per_image": 256}, {}, 258),
        ({"vision_config": {}, "image_seq_length": 576}, {}, 578),
        (
            {"vision_config": {"patch_size": 14, "spatial_merge_size": 2}},
            {"max_pixels": 12_845_056, "merge_size": 2},
            16_386,
        ),
        (
            {"vision_config": {"patch_size": 16}},
            {"size": {"longest_edge": 16_777_216}, "merge_size": 2},
            16_386,
        ),
        ({"vision_config": {"image_size": 336, "patch_size": 14}}, {}, 579),
        (
            {"vision_config": {"image_size": 560, "patch_size": 14, "max_num_tiles": 4}},
            {"size": {"longest_edge": 560}},
            6406,
        ),
        ({"vision_config": {"image_size": True, "patch_size": -1}}, {}, 0),
    ],
)
def test_an_image_has_as_many_tokens_as_its_model_can_make_of_it(
    config: dict[str, Any], processor: dict[str, Any], tokens: int
) -> None:
    assert image_tokens(config, processor) == tokens


def test_other_forms_of_tokenizers_are_known_by_their_files(tmp_path: Path) -> None:
    content = {name: data for name, data in files().items() if name != "tokenizer.json"}
    for name, factor in (("tekken.json", 1), ("qwen.tiktoken", 1), ("tokenizer.model", 11)):
        folder = write(tmp_path / name, {**content, name: b"{}"})
        assert text_bounds(listed_files(folder)).bytes_factor == factor
    assert SENTENCEPIECE_FACTOR == 11
    with pytest.raises(SetupError, match="no tokenizer"):
        text_bounds(listed_files(write(tmp_path / "none", content)))


async def test_overhead_is_the_most_that_the_template_adds() -> None:
    async def count(path: str, body: dict[str, Any]) -> int | None:
        if "tools" in body:
            raise RequestError("no tools here")
        return 25 if len(body["messages"]) == 1 else 9

    overhead = await measure_overhead(count, "m")
    assert overhead == 25 + 16
    body = {"model": "m", "messages": [{"role": "user", "content": "a"}]}
    bound = max_input_bound(body, bytes_factor=1, overhead=overhead, max_image_tokens=0)
    assert bound > 25


async def test_an_engine_that_cannot_count_gets_a_guess() -> None:
    async def unable(path: str, body: dict[str, Any]) -> int | None:
        return None

    async def refusing(path: str, body: dict[str, Any]) -> int | None:
        raise RequestError("no template")

    assert await measure_overhead(unable, "m") == OVERHEAD_UNCOUNTED
    assert await measure_overhead(refusing, "m") == OVERHEAD_UNCOUNTED
