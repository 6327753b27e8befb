"""Engine flags that fit a model to GPUs: pure arithmetic on what both say of themselves.

SGLang's `mem_fraction_static` is the share of a GPU for weights and cache; the rest is for
activations and CUDA graphs, and runs out first when it is too small.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bombyx.errors import SetupError
from worker.gpu.port import Gpu

_GIB: Final = 2**30
WORKING_BYTES: Final = 4 * _GIB
"""Activations and graphs of one GPU, at the default chunk of 8192 prompt tokens."""
PEER_BYTES: Final = 2 * _GIB
"""More where GPUs exchange activations."""
CONFIDENTIAL_BYTES: Final = _GIB
"""Staging buffers through which a confidential GPU talks to its CPU."""
_LEAST, _MOST = 0.5, 0.92
_WEIGHTS_SLACK = 1.03
"""Padding of tensors to whole pages."""
_CACHE_BYTES = 2
"""Of each number in the cache: bfloat16."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What of a model matters here; `weights` in bytes."""

    weights: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    context: int

    @classmethod
    def read(cls, config: Mapping[str, Any], *, weights: int) -> "ModelShape":
        """From `config.json`; raises `SetupError` where it does not say."""
        text = config.get("text_config")
        told = {**config, **text} if isinstance(text, dict) else dict(config)
        try:
            heads = int(told["num_attention_heads"])
            return cls(
                weights=weights,
                layers=int(told["num_hidden_layers"]),
                heads=heads,
                kv_heads=int(told.get("num_key_value_heads") or heads),
                head_dim=int(told.get("head_dim") or told["hidden_size"] // heads),
                context=int(told["max_position_embeddings"]),
            )
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            raise SetupError("config.json does not tell the model's shape") from None

    @property
    def token_bytes(self) -> int:
        """The cache of one token, on all GPUs together."""
        return 2 * self.layers * self.kv_heads * self.head_dim * _CACHE_BYTES


@dataclass(frozen=True, slots=True)
class Fit:
    """How to start the engine; `cache_tokens` is what its cache will hold."""

    tp_size: int
    mem_fraction_static: float
    context_length: int
    cache_tokens: int

    def flags(self) -> dict[str, str]:
        """SGLang's flags, without dashes."""
        return {
            "tp_size": str(self.tp_size),
            "mem_fraction_static": f"{self.mem_fraction_static:.3f}",
            "context_length": str(self.context_length),
        }


def fit(
    shape: ModelShape, gpus: Sequence[Gpu], *, confidential: bool, context: int | None = None
) -> Fit:
    """Flags for this model on these GPUs; `context` in tokens, the model's own if None.

    Raises `SetupError` where the model cannot be split over them, or does not fit.
    """
    count, memory = len(gpus), _least_memory(gpus)
    if shape.heads % count:
        raise SetupError(f"a model with {shape.heads} heads cannot be split over {count} GPUs")
    spare = WORKING_BYTES + PEER_BYTES * (count > 1) + CONFIDENTIAL_BYTES * confidential
    # Small GPUs keep a share, not a size.
    fraction = max(_LEAST, min(_MOST, 1 - spare / memory))
    cache = count * (fraction * memory) - shape.weights * _WEIGHTS_SLACK
    # Heads of the cache that do not divide are kept on every GPU.
    copies = max(1, count // shape.kv_heads)
    tokens = int(cache / (shape.token_bytes * copies))
    wanted = min(context or shape.context, shape.context)
    if tokens < wanted:
        raise SetupError(_too_small(shape, count * memory, tokens, wanted))
    return Fit(count, round(fraction, 3), wanted, tokens)


def _least_memory(gpus: Sequence[Gpu]) -> int:
    sizes = [gpu.memory_total for gpu in gpus if gpu.memory_total]
    if not sizes or len(sizes) != len(gpus):
        raise SetupError("the driver does not tell how much memory the GPUs have")
    return min(sizes)


def _too_small(shape: ModelShape, memory: int, tokens: int, wanted: int) -> str:
    weights, have = shape.weights / _GIB, memory / _GIB
    if tokens <= 0:
        return f"the model has {weights:.0f} GiB of weights, the GPUs {have:.0f} GiB of memory"
    return (
        f"beside {weights:.0f} GiB of weights there is room for {tokens} tokens, "
        f"fewer than one context of {wanted}; set context lower, or use more GPUs"
    )
