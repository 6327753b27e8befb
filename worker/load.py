"""A worker's load of a model, as its gateways are told (SPEC 10.1)."""

from bombyx.errors import BombyxError
from bombyx.link.documents import WorkerStatus
from worker.engine.port import Engine, Load
from worker.engine.several import Several
from worker.ledger.journal import Journal

_NOTHING = Load(running=0, waiting=0, slots=0)


async def load_of(
    model: str, engine: Engine, journal: Journal, *, admitted: int, is_only: bool
) -> WorkerStatus:
    """Of one model; of an only one, what was admitted counts before the engine has seen it."""
    try:
        if isinstance(engine, Several) and not is_only:
            load, admitted = await engine.load_of(model), engine.running(model)
        else:
            load = await engine.load()
    except BombyxError:
        load = _NOTHING  # it restarts, and takes nothing
    if journal.trouble is not None:
        load = _NOTHING  # what would be answered could not be billed
    running = max(load.running, min(admitted, load.slots))
    waiting = max(load.waiting, admitted - load.slots, 0)
    return WorkerStatus(model=model, running=running, waiting=waiting, slots=load.slots)
