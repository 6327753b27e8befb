"""`--gpus 0-3,4-7`: which GPUs belong together, a worker process for each group."""

import os
import re
from collections.abc import Sequence

from bombyx.errors import SetupError

MAX_GPU = 63
_GROUP = re.compile(r"(\d{1,2})(?:-(\d{1,2}))?")

Group = tuple[int, ...]


def parse_groups(text: str) -> list[Group]:
    """The groups in order; none for an empty text. Raises `SetupError`."""
    groups = [_group(part) for part in text.split(",")] if text else []
    named = [index for group in groups for index in group]
    twice = sorted({index for index in named if named.count(index) > 1})
    if twice:
        raise SetupError(f"--gpus names GPU {twice[0]} twice")
    return groups


def _group(part: str) -> Group:
    match = _GROUP.fullmatch(part.strip())
    if match is None:
        raise SetupError("--gpus takes numbers and ranges, such as 0-3,4-7")
    first = int(match[1])
    last = int(match[2]) if match[2] else first
    if last < first:
        raise SetupError(f"--gpus {part}: the range runs backwards")
    if last > MAX_GPU:
        raise SetupError(f"--gpus {part}: no machine has so many GPUs")
    return tuple(range(first, last + 1))


def group_name(group: Sequence[int]) -> str:
    """The group as `--gpus` takes it."""
    return str(group[0]) if len(group) == 1 else f"{group[0]}-{group[-1]}"


def use_group(group: Sequence[int]) -> None:
    """Show these GPUs, and no others, to the engines that this process starts.

    CUDA counts the fastest GPU first unless told otherwise, NVML by the bus: they must agree, or
    the evidence would be of other GPUs than those that answer.
    """
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(str(index) for index in group)
