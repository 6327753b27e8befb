"""GPU numbers for the owner: a file in the state folder, written anew every few seconds.

No port is opened for it, and nothing of it goes to a gateway.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import structlog

from bombyx.errors import SetupError
from worker.clock import Clock, now_ms
from worker.gpu.groups import parse_groups
from worker.gpu.nvml import Nvml
from worker.gpu.port import GpuProbe, status_of

STATUS_FILE = "gpu-status.json"
REFRESH_SECONDS = 5.0
_OWNER_ONLY = 0o600

_log = structlog.get_logger("worker")


@contextlib.asynccontextmanager
async def gpu_status(folder: Path, gpus: str) -> AsyncIterator[None]:
    """Keep the file up to date within the block; does nothing on a machine without a driver."""
    groups = parse_groups(gpus)
    try:
        probe = await asyncio.to_thread(Nvml)
    except SetupError as error:
        if groups:  # GPUs were named, so that their absence is news
            _log.warning("no_gpu_numbers", reason=error.message)
        yield
        return
    keeper = asyncio.create_task(keep_status(folder, probe, groups[0] if groups else None))
    try:
        yield
    finally:
        keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeper
        probe.close()


async def keep_status(
    folder: Path, probe: GpuProbe, indices: tuple[int, ...] | None, *, clock: Clock = now_ms
) -> None:
    """Write the file until cancelled; a look that fails leaves the file as it was."""
    told = False
    while True:
        try:
            await asyncio.to_thread(write_status, folder, probe, indices, at=clock())
            told = False
        except (SetupError, OSError) as error:
            if not told:
                _log.warning("no_gpu_numbers", reason=str(error))
            told = True
        await asyncio.sleep(REFRESH_SECONDS)


def write_status(
    folder: Path, probe: GpuProbe, indices: tuple[int, ...] | None, *, at: int
) -> None:
    """Write what the GPUs do now; whole or not at all. `at` in unix milliseconds."""
    document = {"at": at, **status_of(probe, indices).document()}
    partial = folder / f".{STATUS_FILE}.new"
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _OWNER_ONLY)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
        json.dump(document, file)
    partial.replace(folder / STATUS_FILE)
