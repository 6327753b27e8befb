"""Engine flags that fit a model to GPUs."""

from dataclasses import replace
from typing import Any

import pytest

from bombyx.errors import SetupError
from worker.gpu.fit import Fit, ModelShape, fit
from worker.gpu.port import Gpu

GIB = 2**30
LLAMA_8B = ModelShape(
    weights=16 * GIB, layers=32, heads=32, kv_heads=8, head_dim=128, context=131_072
)
LLAMA_70B = ModelShape(
    weights=141 * GIB, layers=80, heads=64, kv_heads=8, head_dim=128, context=131_072
)
H100 = Gpu(0, memory_total=80 * GIB)


def gpus(count: int, memory: int = 80) -> list[Gpu]:
    return [Gpu(index, memory_total=memory * GIB) for index in range(count)]


def test_a_model_that_fits_gets_the_rest_for_its_cache() -> None:
    found = fit(LLAMA_8B, gpus(1), confidential=True)
    assert (found.tp_size, found.context_length) == (1, 131_072)
    assert 0.9 <= found.mem_fraction_static <= 0.92
    room = found.mem_fraction_static * 80 * GIB - LLAMA_8B.weights
    assert 0.9 * room < found.cache_tokens * LLAMA_8B.token_bytes <= room
    assert found.flags() == {
        "tp_size": "1",
        "mem_fraction_static": "0.920",
        "context_length": "131072",
    }


def test_confidential_and_several_gpus_leave_more_free() -> None:
    plain = fit(LLAMA_70B, gpus(4, 48), confidential=False, context=8192)
    confidential = fit(LLAMA_70B, gpus(4, 48), confidential=True, context=8192)
    assert confidential.mem_fraction_static < plain.mem_fraction_static
    assert (plain.tp_size, plain.context_length) == (4, 8192)
    for one in (plain, confidential):
        assert 1 - one.mem_fraction_static >= 6 / 48 - 0.001


@pytest.mark.parametrize(
    ("shape", "count", "context", "sentence"),
    [
        (LLAMA_70B, 1, None, "141 GiB of weights, the GPUs 80 GiB of memory"),
        (LLAMA_8B, 3, None, "32 heads cannot be split over 3 GPUs"),
        (replace(LLAMA_8B, weights=68 * GIB), 1, None, "fewer than one context of 131072"),
    ],
)
def test_what_does_not_fit_is_refused(
    shape: ModelShape, count: int, context: int | None, sentence: str
) -> None:
    with pytest.raises(SetupError, match=sentence):
        fit(shape, gpus(count), confidential=False, context=context)


def test_a_context_is_never_longer_than_the_models() -> None:
    found = fit(LLAMA_8B, gpus(1), confidential=False, context=10**6)
    assert found.context_length == LLAMA_8B.context


def test_unknown_memory_is_refused() -> None:
    for unknown in ([Gpu(0)], [H100, Gpu(1)]):
        with pytest.raises(SetupError, match="how much memory"):
            fit(LLAMA_8B, unknown, confidential=False)


def test_heads_of_the_cache_that_do_not_divide_are_kept_on_every_gpu() -> None:
    few = replace(LLAMA_8B, kv_heads=1)
    whole, split = fit(few, gpus(2), confidential=False), fit(few, gpus(4), confidential=False)
    assert split.cache_tokens < 2 * whole.cache_tokens


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64,
             "max_position_embeddings": 512},
            ModelShape(9, 2, 4, 4, 16, 512),
        ),
        (
            {"text_config": {"num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 32,
             "num_key_value_heads": 2, "max_position_embeddings": 512}},
            ModelShape(9, 2, 4, 2, 32, 512),
        ),
    ],
)  # fmt: skip
def test_the_shape_is_read_from_the_settings(config: dict[str, Any], expected: ModelShape) -> None:
    assert ModelShape.read(config, weights=9) == expected


def test_settings_without_a_shape_are_refused() -> None:
    for config in ({}, {"num_hidden_layers": "x"}, {"num_attention_heads": 0}):
        with pytest.raises(SetupError, match="shape"):
            ModelShape.read(config, weights=1)


def test_flags_are_text() -> None:
    assert set(map(type, Fit(1, 0.9, 1, 1).flags().values())) == {str}
