"""`bombyx doctor`: what a GPU owner's machine lacks, a sentence and a way out for each thing."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from bombyx.cli.output import JsonOption, Output
from bombyx.errors import SetupError
from bombyx.settings import load_settings, state_directory
from worker.clock import now_ms
from worker.doctor.check import Check, Result, is_well
from worker.doctor.fitting import check_fit
from worker.doctor.hardware import (
    Found,
    check_confidential,
    check_devtools,
    check_driver,
    check_gpus,
    check_ready,
    check_tee,
    tee_devices,
)
from worker.doctor.machine import (
    ask_gateway,
    available_memory,
    check_disk,
    check_gateway,
    check_memory,
    check_python,
    check_time,
    free_disk,
)
from worker.doctor.software import check_engine, check_model
from worker.gpu.nvml import Nvml
from worker.gpu.port import status_of
from worker.models.store import at_hand
from worker.settings import WorkerSettings

_MARKS = {Result.PASS: "ok  ", Result.FAIL: "FAIL", Result.UNKNOWN: "?   "}
_FAILED = 1


def doctor(
    *,
    gateway: Annotated[str | None, typer.Option(help="A gateway to reach, and its time.")] = None,
    engine: Annotated[str | None, typer.Option(help="The engine that will run.")] = None,
    model_path: Annotated[Path | None, typer.Option(help="The model that will be served.")] = None,
    hardware: Annotated[
        bool, typer.Option("--hardware", help="Require what serving as attested hardware needs.")
    ] = False,
    state: Annotated[Path | None, typer.Option(help="The worker's state folder.")] = None,
    config: Annotated[Path | None, typer.Option(help="The settings file to read.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Examine this machine; exits 1 when something that the worker needs is missing."""
    given = {
        "gateway": (gateway,) if gateway else None,
        "engine": engine,
        "model_path": model_path,
    }
    settings = at_hand(load_settings(WorkerSettings, "worker", given, config=config)[0])
    checks = list(examine(settings, state_directory(state), hardware=hardware))
    document = {"ok": is_well(checks), "checks": [check.document() for check in checks]}
    Output(as_json=as_json).answer(document, *(_line(check) for check in checks))
    if not is_well(checks):
        raise typer.Exit(_FAILED)


def examine(settings: WorkerSettings, folder: Path, *, hardware: bool) -> Iterator[Check]:
    """Every check of a machine with these settings, in order."""
    yield check_python((sys.version_info.major, sys.version_info.minor, sys.version_info.micro))
    yield check_disk(*free_disk(folder))
    yield check_memory(available_memory())
    answer = ask_gateway(settings.gateway[0]) if settings.gateway else None
    yield check_time(answer, now_ms() / 1000)
    yield check_gateway(answer)
    yield check_engine(settings.engine, model=settings.model_path, python=settings.engine_python)
    yield check_model(settings.model_path)
    found = look_at_gpus()
    yield check_driver(found, required=hardware)
    yield check_gpus(found, required=hardware)
    yield check_confidential(found, required=hardware)
    yield check_devtools(found, required=hardware)
    yield check_ready(found)
    yield check_fit(found, settings.model_path, gpus=settings.gpus, context=settings.context)
    yield check_tee(tee_devices(), required=hardware)


def look_at_gpus() -> Found:
    """The GPUs now, or why none is seen."""
    try:
        probe = Nvml()
    except SetupError as error:
        return Found(None, error.message)
    try:
        return Found(status_of(probe))
    except SetupError as error:
        return Found(None, error.message)
    finally:
        probe.close()


def _line(check: Check) -> str:
    line = f"{_MARKS[check.result]} {check.name:<13} {check.detail}"
    return f"{line}\n     {'':<13} -> {check.fix}" if check.fix else line
