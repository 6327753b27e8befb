"""The machine's quoter for another role on it (SPEC 17.11): entry point group `bombyx.quoters`.

Where the hardware is and what stands in for it is the machine's business, so it is read where a
worker reads it: from the section `[worker]`. What is quoted is the other role's.
"""

from collections.abc import Callable
from pathlib import Path

from bombyx.settings import load_settings
from worker.attest.choose import choose_machine
from worker.attest.collateral_source import CollateralSource
from worker.attest.port import Quoter
from worker.settings import WorkerSettings


def open_quoter(
    folder: Path, *, clock: Callable[[], int], source: CollateralSource, image: bytes
) -> tuple[Quoter, str]:
    """The quoter, and in one sentence why it is this one.

    `folder` keeps a simulated root where no setting names one, `clock` gives unix seconds, `source`
    finds vendors' documents, `image` (48 bytes) is what a simulated machine claims to run.
    Raises `SetupError` where the platform that the settings name is not there.
    """
    settings, _ = load_settings(WorkerSettings, "worker")
    machine = choose_machine(settings, folder, clock=clock, source=source, image=image)
    return machine.quoter, machine.reason
