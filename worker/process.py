"""The worker as an operating system process: files, signals, the ready line."""

import asyncio
import os
import signal
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from bombyx.cli.output import Output
from bombyx.control.starting import starting
from bombyx.errors import SetupError
from worker.app import Parts, Worker
from worker.attest.choose import choose_machine
from worker.attest.port import Quoter
from worker.clock import now_ms
from worker.control.orders import Orders
from worker.control.server import control_socket
from worker.engine.port import Engine
from worker.engines import build_engine
from worker.gpu.evidence import machine_gpus, refuse_open_gpus
from worker.gpu.status import gpu_status
from worker.last_words import forget_last_words
from worker.ledger.journal import Journal
from worker.link.address import link_url
from worker.logs import configure_logs
from worker.models.hashing import interrupt
from worker.residents import Residents
from worker.sealing.choose import choose_sealing
from worker.sealing.port import Sealing
from worker.settings import WorkerSettings
from worker.state import make_state

JOURNAL_FILE = "worker-journal.db"
_OWNER_ONLY = 0o077
"""The journal is nobody else's to read."""

_log = structlog.get_logger("worker")


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is made before the event loop runs."""

    folder: Path
    engine: Engine
    quoter: Quoter
    sealing: Sealing


def prepare(settings: WorkerSettings, folder: Path, output: Output) -> Prepared:
    """State folder, engine and attestation hardware; raises `SetupError`."""
    configure_logs()
    if not settings.gateway:
        raise SetupError("name a gateway: bombyx worker --gateway https://HOST:PORT")
    for url in settings.gateway:
        link_url(url)
    os.umask(_OWNER_ONLY)
    make_state(folder)
    gpus = machine_gpus(settings.gpus)
    machine = choose_machine(settings, folder, clock=_now, gpus=gpus)
    refuse_open_gpus(machine.quoter.platform, gpus)
    _log.info("attesting", platform=machine.quoter.platform, reason=machine.reason)
    sealing = choose_sealing(settings, machine.quoter)
    _log.info("sealing", by=sealing.name, reason=sealing.promise)
    engine = build_engine(settings, state=folder, say=output.say)
    return Prepared(folder, engine, machine.quoter, sealing)


async def serve(settings: WorkerSettings, prepared: Prepared, output: Output) -> None:
    """Run until SIGTERM or SIGINT; raises `SetupError` when no gateway wants this worker."""
    stopping = _on_signals()
    interrupt(stopping=False)
    residents = Residents(settings, prepared.folder, say=output.say)
    journal = await open_journal(prepared)
    try:
        with starting(prepared.folder) as ready:
            settings = await paid_to(settings, journal)
            if not await _unless(stopping, residents.begin(prepared.engine)):
                _log.info("stopping", reason="told to, before the engine was ready")
                return
            parts = Parts(
                residents.engine,
                residents.models,
                prepared.quoter,
                journal,
                now_ms,
                prepared.folder,
            )
            worker = await Worker.create(settings, parts)
            worker.start()
            try:
                orders = Orders(worker, residents, journal, settings=settings)
                async with (
                    gpu_status(prepared.folder, settings.gpus),
                    control_socket(prepared.folder, orders.obey),
                ):
                    ready()
                    forget_last_words(prepared.folder)
                    await _until_stopped(worker, stopping, output)
            finally:
                _log.info("stopping")
                interrupt()  # a model may be on its way in
                await worker.close()
    finally:
        await residents.close()
        await journal.close()


async def _unless(stopping: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Whether the work was done; it is given up when the process is told to stop."""
    stop, doing = asyncio.create_task(stopping.wait()), asyncio.create_task(work)
    try:
        await asyncio.wait({stop, doing}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            doing.result()
            return True
        return False
    finally:
        stop.cancel()
        if not doing.done():
            interrupt()  # a thread cannot be cancelled, and the process would wait for it
            doing.cancel()
            await asyncio.wait({doing})


async def open_journal(prepared: Prepared) -> Journal:
    """The state folder's journal; says what became of it. Raises `SetupError`."""
    journal = await Journal.open(prepared.folder / JOURNAL_FILE, prepared.sealing)
    rollback = journal.rollback
    say = _log.warning if rollback.verdict == "noticed" else _log.info
    say("rollback", verdict=rollback.verdict, reason=rollback.reason)
    return journal


async def paid_to(settings: WorkerSettings, journal: Journal) -> WorkerSettings:
    """With the address of the process before where none is set; tells where it is another."""
    before = await journal.kept_payout()
    wallet = await journal.payout(settings.wallet)
    if before is not None and wallet != before:
        _log.warning("payout_changed", before=before, now=wallet)
    return settings.model_copy(update={"wallet": wallet})


async def _until_stopped(worker: Worker, stopping: asyncio.Event, output: Output) -> None:
    stop = asyncio.create_task(stopping.wait())
    lost = asyncio.create_task(worker.given_up())
    linked = asyncio.create_task(worker.linked.wait())
    try:
        await asyncio.wait({stop, lost, linked}, return_when=asyncio.FIRST_COMPLETED)
        if linked.done():
            _say_ready(worker, output)
            await asyncio.wait({stop, lost}, return_when=asyncio.FIRST_COMPLETED)
        if not stop.done():
            raise SetupError(f"no gateway wants this worker: {_why(worker)}")
    finally:
        for task in (stop, lost, linked):
            task.cancel()


def _why(worker: Worker) -> str:
    """Every gateway's own words."""
    told = dict.fromkeys(one["sentence"] for one in worker.notices.document())
    return "; ".join(told) or "the log above says why"


def _say_ready(worker: Worker, output: Output) -> None:
    document = {
        "worker": worker.generations.current.worker,
        "models": [model.id for model in worker.models],
        "gateways": worker.gateways,
        "pid": os.getpid(),
    }
    names = ", ".join(model.id for model in worker.models)
    shown = f"worker {worker.generations.current.worker[:16]} serves {names}"
    output.answer(document, f"{shown} for {', '.join(worker.gateways)}")


def _on_signals() -> asyncio.Event:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, stopping.set)
    return stopping


def _now() -> int:
    return now_ms() // 1000
