"""The worker as an operating system process: files, signals, the ready line."""

import asyncio
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import structlog

from bombyx.cli.output import Output
from bombyx.errors import SetupError
from worker.app import Parts, Worker
from worker.attest.choose import choose_machine
from worker.attest.port import Quoter
from worker.clock import now_ms
from worker.engine.port import Engine
from worker.engines import build_engine
from worker.gpu.evidence import machine_gpus, refuse_open_gpus
from worker.gpu.status import gpu_status
from worker.ledger.journal import Journal
from worker.link.address import link_url
from worker.logs import configure_logs
from worker.models.identity import identified
from worker.settings import WorkerSettings

JOURNAL_FILE = "worker-journal.db"
_STATE_MODE = 0o700
_OWNER_ONLY = 0o077
"""The journal is nobody else's to read."""

_log = structlog.get_logger("worker")


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is made before the event loop runs."""

    folder: Path
    engine: Engine
    quoter: Quoter


def prepare(settings: WorkerSettings, folder: Path, output: Output) -> Prepared:
    """State folder, engine and attestation hardware; raises `SetupError`."""
    configure_logs()
    if not settings.gateway:
        raise SetupError("name a gateway: bombyx worker --gateway https://HOST:PORT")
    for url in settings.gateway:
        link_url(url)
    os.umask(_OWNER_ONLY)
    folder.mkdir(parents=True, exist_ok=True, mode=_STATE_MODE)
    gpus = machine_gpus(settings.gpus)
    machine = choose_machine(settings, folder, clock=_now, gpus=gpus)
    refuse_open_gpus(machine.quoter.platform, gpus)
    _log.info("attesting", platform=machine.quoter.platform, reason=machine.reason)
    return Prepared(folder, build_engine(settings, state=folder, say=output.say), machine.quoter)


async def serve(settings: WorkerSettings, prepared: Prepared, output: Output) -> None:
    """Run until SIGTERM or SIGINT; raises `SetupError` when no gateway wants this worker."""
    stopping = _on_signals()
    engine = prepared.engine
    journal = await Journal.open(prepared.folder / JOURNAL_FILE)
    try:
        await engine.start()
        models = await identified(engine, settings, prepared.folder)
        parts = Parts(engine, models, prepared.quoter, journal, now_ms)
        worker = await Worker.create(settings, parts)
        worker.start()
        try:
            async with gpu_status(prepared.folder, settings.gpus):
                await _until_stopped(worker, parts, stopping, output)
        finally:
            _log.info("stopping")
            await worker.close()
    finally:
        await engine.close()
        await journal.close()


async def _until_stopped(
    worker: Worker, parts: Parts, stopping: asyncio.Event, output: Output
) -> None:
    stop = asyncio.create_task(stopping.wait())
    lost = asyncio.create_task(worker.given_up())
    linked = asyncio.create_task(worker.linked.wait())
    try:
        await asyncio.wait({stop, lost, linked}, return_when=asyncio.FIRST_COMPLETED)
        if linked.done():
            _say_ready(worker, parts, output)
            await asyncio.wait({stop, lost}, return_when=asyncio.FIRST_COMPLETED)
        if not stop.done():
            raise SetupError("no gateway wants this worker; the log above says why")
    finally:
        for task in (stop, lost, linked):
            task.cancel()


def _say_ready(worker: Worker, parts: Parts, output: Output) -> None:
    document = {
        "worker": worker.generations.current.worker,
        "models": [model.id for model in parts.models],
        "gateways": worker.gateways,
        "pid": os.getpid(),
    }
    names = ", ".join(model.id for model in parts.models)
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
