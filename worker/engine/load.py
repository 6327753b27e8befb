"""How busy a server says it is, server by server (SPEC 10, 13.1)."""

from collections.abc import Awaitable, Callable
from typing import Any

from bombyx.errors import NotFound
from worker.engine.flavour import Flavour
from worker.engine.port import Load

Get = Callable[[str], Awaitable[Any]]
"""A path of the server's, its parsed answer."""


async def told_load(get: Get, flavour: Flavour, *, own: int, slots: int) -> Load:
    """Its load, where it tells; else what runs through us: `own` requests on `slots`.

    Ours are never counted fewer than they are: a server may not have seen the newest yet.
    """
    try:
        told = await _TOLD[flavour](get, slots) if flavour in _TOLD else None
    except NotFound:
        told = None  # an older release, or started without
    if told is None:
        told = Load(running=0, waiting=0, slots=slots)
    running = max(told.running, min(own, told.slots))
    return Load(running, max(told.waiting, own - told.slots, 0), told.slots)


async def _llamacpp(get: Get, _: int) -> Load | None:
    told = await get("/slots")
    if not isinstance(told, list) or not told:
        return None
    running = sum(isinstance(one, dict) and one.get("is_processing") is True for one in told)
    return Load(running=running, waiting=0, slots=len(told))


async def _sglang(get: Get, slots: int) -> Load | None:
    """The sum over its data-parallel ranks."""
    told = await get("/v1/loads?include=core")
    rows = told.get("loads") if isinstance(told, dict) else None
    ranks = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    if not ranks:
        return None
    sums = [
        sum(_count(row.get(name)) for row in ranks)
        for name in ("num_running_reqs", "num_waiting_reqs", "max_running_requests")
    ]
    # A server that fits fewer at once than it was asked to says so here.
    return Load(sums[0], sums[1], min(sums[2], slots) if sums[2] else slots)


async def _vllm(get: Get, slots: int) -> Load | None:
    told = await get("/load")
    count = told.get("server_load") if isinstance(told, dict) else None
    if type(count) is not int:
        return None
    return Load(min(count, slots), max(0, count - slots), slots)


def _count(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0


_TOLD = {Flavour.LLAMACPP: _llamacpp, Flavour.SGLANG: _sglang, Flavour.VLLM: _vllm}
