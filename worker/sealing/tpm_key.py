"""A key sealed by a TPM to what its machine booted, and a counter that no copy can set back.

The sealed key lies in a file beside the journal, and only this TPM opens it, while its registers
of firmware, boot loader, kernel and initial file system are as they were. Outside of a TEE a TPM
keeps nothing from who runs the machine (`worker.attest.vtpm`).
"""

import asyncio
import contextlib
import json
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bombyx.errors import SetupError
from worker.attest.tpm2_device import Channel, Tpm, open_channel
from worker.attest.tpm2_wire import TpmAnswerError, flush
from worker.sealing import tpm_commands as tpm
from worker.sealing.port import KEY_BYTES, SealingKey, beside
from worker.sealing.tpm_commands import SealedObject

SUFFIX: Final = ".tpm"
DRAFT: Final = ".tpm-new"
"""Its name until the journal exists, so that a start that was cut short leaves nothing to mend."""
PCRS: Final = (0, 2, 3, 4, 7, 8, 9, 14)
"""Code of firmware and boot loader, secure boot, the kernel, its command line and initrd. Not 10,
which the running system goes on extending, nor 1 and 5, which a host's settings change."""
COUNTERS: Final = range(0x01810000, 0x01820000)
"""Indices of the owner's; each state folder draws one."""
_DEFINE_ATTEMPTS: Final = 8
_MODE: Final = 0o600


@dataclass(frozen=True, slots=True, repr=False)
class _Kept:
    """The file: the sealed key, and the index of its counter."""

    sealed: SealedObject
    index: int | None

    def encode(self) -> str:
        private, public = self.sealed.private.hex(), self.sealed.public.hex()
        return json.dumps({"private": private, "public": public, "counter": self.index})

    @classmethod
    def decode(cls, text: str) -> "_Kept":
        """Raises `ValueError`."""
        try:
            one = json.loads(text)
            sealed = SealedObject(bytes.fromhex(one["private"]), bytes.fromhex(one["public"]))
            index = one["counter"]
        except (KeyError, TypeError):
            raise ValueError("no sealed key") from None
        if index is not None and (type(index) is not int or index not in COUNTERS):
            raise ValueError("no counter")
        return cls(sealed, index)


class TpmSealing:
    """A `Sealing` by a TPM's device or socket."""

    name: Final = "vtpm"
    promise: Final = "the TPM keeps the key for what this machine booted"

    def __init__(self, device: Path) -> None:
        self._device = device

    async def key(self, journal: Path) -> SealingKey:
        """The key, made and sealed at the first start; raises `SetupError`."""
        return await asyncio.to_thread(self._key, journal)

    async def used(self, journal: Path) -> None:
        """Give the file its name for good."""
        with contextlib.suppress(FileNotFoundError):
            await asyncio.to_thread(beside(journal, DRAFT).replace, beside(journal, SUFFIX))

    def _key(self, journal: Path) -> SealingKey:
        try:
            channel = open_channel(self._device)
        except OSError as error:
            raise SetupError(
                f"the TPM at {self._device} cannot be used: {error.strerror}"
            ) from None
        try:
            for suffix in (SUFFIX, DRAFT):
                path = beside(journal, suffix)
                if (kept := _read(path)) is not None:
                    key = _unseal(channel, path, kept.sealed)
                    return self._sealing_key(key, kept.index, was_used=suffix == SUFFIX)
            return self._first(channel, beside(journal, DRAFT))
        except (OSError, TpmAnswerError) as error:
            raise SetupError(f"the TPM at {self._device} gives no key ({error})") from None
        finally:
            channel.close()

    def _first(self, channel: Channel, path: Path) -> SealingKey:
        key = secrets.token_bytes(KEY_BYTES)
        values = Tpm(channel).pcrs(PCRS)
        parent = tpm.read_handle(channel.ask(tpm.create_storage_key()))
        try:
            command = tpm.create_sealed(parent, key, tpm.policy_digest(values))
            sealed = tpm.read_sealed(channel.ask(command))
        finally:
            channel.ask(flush(parent))
        index = _define_counter(channel)
        _write(path, _Kept(sealed, index).encode())
        return self._sealing_key(key, index)

    def _sealing_key(self, key: bytes, index: int | None, *, was_used: bool = False) -> SealingKey:
        counter = None if index is None else TpmCounter(self._device, index)
        return SealingKey(key, self.name, counter, was_used=was_used)


class TpmCounter:
    """A `Counter` in a TPM's own memory."""

    def __init__(self, device: Path, index: int) -> None:
        self._device = device
        self._index = index

    def read(self) -> int:
        """The number now."""
        return self._with(lambda channel: _count(channel, self._index))

    def raise_once(self) -> int:
        """One more; returns the new number."""

        def work(channel: Channel) -> int:
            tpm.check(channel.ask(tpm.raise_counter(self._index)))
            return _count(channel, self._index)

        return self._with(work)

    def _with(self, work: Callable[[Channel], int]) -> int:
        try:
            channel = open_channel(self._device)
            try:
                return work(channel)
            finally:
                channel.close()
        except (OSError, TpmAnswerError) as error:
            raise SetupError(
                f"the TPM's counter {self._index:#x} cannot be used ({error})"
            ) from None


def _count(channel: Channel, index: int) -> int:
    return tpm.read_count(channel.ask(tpm.read_counter(index)))


def _define_counter(channel: Channel) -> int | None:
    """The index of a new one; None where the owner's hierarchy is locked or memory is full."""
    for _ in range(_DEFINE_ATTEMPTS):
        index = secrets.choice(COUNTERS)
        try:
            tpm.check(channel.ask(tpm.define_counter(index)))
            # The first step is the large one, above every counter that was ever taken away.
            tpm.check(channel.ask(tpm.raise_counter(index)))
        except TpmAnswerError:
            continue
        return index
    return None


def _unseal(channel: Channel, path: Path, sealed: SealedObject) -> bytes:
    handles: list[int] = []
    try:
        handles.append(tpm.read_handle(channel.ask(tpm.create_storage_key())))
        handles.append(tpm.read_handle(channel.ask(tpm.load(handles[0], sealed))))
        handles.append(tpm.read_handle(channel.ask(tpm.start_policy(secrets.token_bytes(16)))))
        tpm.check(channel.ask(tpm.policy_pcr(handles[2], PCRS)))
        return tpm.read_unsealed(channel.ask(tpm.unseal(handles[1], handles[2])))
    except TpmAnswerError as error:
        raise SetupError(
            f"this TPM does not open {path} ({error}): it is another TPM's, or this machine booted "
            "something else since. Boot what it was sealed under to let the journal empty; to give "
            "up what the journal holds, move both files away"
        ) from None
    finally:
        for handle in reversed(handles):
            channel.ask(flush(handle))  # a session that was used is gone: the TPM says so


def _read(path: Path) -> _Kept | None:
    try:
        return _Kept.decode(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        raise SetupError(
            f"{path} is damaged and no sealed key: bring back its copy; to give up what the "
            "journal holds, move both away"
        ) from None


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MODE)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
