"""Whether the model fits the GPUs, and the engine flags that would fit it to them.

It informs and never decides: what an engine needs beside weights and cache is an estimate.
"""

import json
from pathlib import Path

from bombyx.errors import SetupError
from worker.doctor.check import Check, failed, passed, unknown
from worker.doctor.hardware import Found
from worker.gpu.confidential import obstacles
from worker.gpu.fit import ModelShape, fit
from worker.gpu.groups import parse_groups
from worker.gpu.port import Gpu

_NAME = "model-fits"
_CONFIG_BYTES = 2**20


def check_fit(found: Found, folder: Path | None, *, gpus: str, context: int | None) -> Check:
    """The model in `folder` on the first group of `gpus`, or on all that there are."""
    if found.status is None or not found.status.gpus:
        return unknown(_NAME, "no GPU is seen")
    if folder is None or not (folder / "config.json").is_file():
        return unknown(_NAME, "no folder with a config.json was named")
    confidential = not obstacles(found.status.confidential)
    try:
        group = _group(found.status.gpus, gpus)
        fitted = fit(_shape(folder), group, confidential=confidential, context=context)
    except SetupError as error:
        fix = "other GPUs, a smaller context, or --gpus with more of them in a group"
        return failed(_NAME, error.message, fix=fix, required=False)
    flags = f"--tp-size {fitted.tp_size} --mem-fraction-static {fitted.mem_fraction_static:.3f}"
    room = f"room for {fitted.cache_tokens} tokens of cache"
    return passed(_NAME, f"{room} with engine_flags {flags}", required=False)


def _group(seen: tuple[Gpu, ...], gpus: str) -> list[Gpu]:
    groups = parse_groups(gpus)
    wanted = groups[0] if groups else tuple(gpu.index for gpu in seen)
    group = [gpu for gpu in seen if gpu.index in wanted]
    if len(group) != len(wanted):
        raise SetupError(f"of the GPUs {gpus} only {len(group)} are here")
    return group


def _shape(folder: Path) -> ModelShape:
    try:
        with (folder / "config.json").open("rb") as file:
            config = json.loads(file.read(_CONFIG_BYTES))
        weights = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    except (OSError, ValueError, RecursionError):
        raise SetupError(f"{folder.name}/config.json cannot be read") from None
    if not isinstance(config, dict):
        raise SetupError(f"{folder.name}/config.json is no JSON object")
    return ModelShape.read(config, weights=weights)
