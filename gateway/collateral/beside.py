"""What vendors say about listed workers, laid beside the directory's entries (SPEC 17.10, 17.12).

Revocation lists and references are no part of what a worker brought, so the gateway finds them for
who verifies. Best effort: what is not at hand is left out, and counts as unknown.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Iterable

import msgspec

from bombyx.attestation.directory import Directory, Entry
from bombyx.attestation.evidence import Evidence
from bombyx.attestation.wanted import wanted_documents
from bombyx.errors import BombyxError
from gateway.collateral.service import CollateralService

PATIENCE_SECONDS = 2.0
"""Nobody's directory waits longer for a vendor; what comes later is there the next time."""
MAX_REMEMBERED = 10_000
"""Workers whose documents' names are remembered: reading certificates anew takes 0.1 ms each."""


class Beside:
    """Finds documents by the evidence that they bear on."""

    def __init__(self, service: CollateralService) -> None:
        self._service = service
        self._names: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    async def texts(self, names: Iterable[str]) -> dict[str, str]:
        """The documents that are at hand soon enough, as text by name."""
        asked = {name: asyncio.ensure_future(self._service.find(name)) for name in names}
        if not asked:
            return {}
        done, late = await asyncio.wait(asked.values(), timeout=PATIENCE_SECONDS)
        for one in late:
            one.cancel()
        found = {}
        for name, one in asked.items():
            with contextlib.suppress(BombyxError, ValueError, asyncio.CancelledError):
                if one in done:
                    found[name] = one.result().document.decode()
        return found

    async def completed(self, directory: Directory) -> Directory:
        """The directory with the documents that its entries' evidence wants."""
        wanted = [self._wanted(entry) for entry in directory.workers]
        shelf = await self.texts({name for names in wanted for name in names})
        if not shelf:
            return directory
        workers = [
            _naming(entry, [name for name in names if name in shelf])
            for entry, names in zip(directory.workers, wanted, strict=True)
        ]
        return msgspec.structs.replace(directory, workers=workers, vendor=shelf)

    def _wanted(self, entry: Entry) -> tuple[str, ...]:
        if is_plain(entry.evidence):
            return ()
        worker = entry.offers[0].offer.worker
        known = self._names.get(worker)
        if known is None:
            known = self._names[worker] = wanted_documents(entry.evidence)
            if len(self._names) > MAX_REMEMBERED:
                self._names.popitem(last=False)
        return known


def is_plain(evidence: Evidence) -> bool:
    """Whether its kind wants nothing, so that nobody need look into it."""
    return evidence.platform != "sev-snp" and not evidence.gpus


def _naming(entry: Entry, names: list[str]) -> Entry:
    return msgspec.structs.replace(entry, vendor=names) if names else entry
