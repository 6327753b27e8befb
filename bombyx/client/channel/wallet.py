"""All channels of a user: which one pays a request (SPEC 7.9), each opened when it is first needed.

A channel serves one gateway, by its identity key, and one payer key, which stands for an API key.
Sessions of one process share a channel; another process is turned away.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from weakref import WeakValueDictionary

from msgspec import UnsetType

from bombyx.client.channel import paying
from bombyx.client.channel.marks import CLOSED, is_marked
from bombyx.client.channel.payer import Payer
from bombyx.client.channel.records import ChannelRecord
from bombyx.client.channel.store import RECORD, ChannelStore, Pending, read_channel, read_record
from bombyx.client.receipts import Sealed, VerifiedAnswer
from bombyx.errors import SetupError
from bombyx.money.channel.spending import Caps, Purse

FOLDER = "channels"
_log = logging.getLogger("bombyx.wallet")
_shared: WeakValueDictionary[Path, Payer] = WeakValueDictionary()
_sharing = threading.Lock()


@dataclass(frozen=True, slots=True, repr=False)
class Wanted:
    """Whose channel is missing: a gateway's identity key and URL, our payer key and API key."""

    identity: str
    payer: str
    origin: str
    authorization: str


class Funder(paying.Funder, Protocol):
    """Also opens channels, where its owner allows that."""

    def open(self, wanted: Wanted, wallet: "Wallet") -> Pending[None]:
        """Open a channel; the wallet finds it once this is `done`."""
        ...

    def close(self) -> None:
        """Let what runs come to its end."""
        ...


def open_payer(folder: Path, caps: Caps, *, clock: Callable[[], int]) -> Payer:
    """The payer of a channel's folder, to be given back; of one process all share it.

    Raises `SetupError`.
    """
    place = folder.resolve()
    with _sharing:
        payer = _shared.get(place)
        if payer is None or payer.is_closed:
            payer = Payer(ChannelStore(folder), caps, clock=clock)
            _shared[place] = payer
        payer.users += 1
        return payer


def give_back(payer: Payer) -> None:
    """Its user is done with it; the last one of this process closes it."""
    with _sharing:
        payer.users -= 1
        if payer.users <= 0:
            payer.close()


@dataclass(frozen=True, slots=True)
class Found:
    """A channel as it lies on disk."""

    folder: Path
    record: ChannelRecord
    purse: Purse


@dataclass(frozen=True, slots=True)
class Broken:
    """A channel that cannot be read, and why; `record` is what can be read of it."""

    folder: Path
    record: ChannelRecord | None
    error: SetupError


@dataclass(frozen=True, slots=True)
class Survey:
    """Channels, the newest first, and those that are broken: one of them hides no other."""

    found: list[Found]
    broken: list[Broken]


def named_folders(root: Path, name: str = "") -> list[Path]:
    """The folders of channels whose address begins so; nothing of them is read."""
    return sorted(
        path.parent for path in root.glob(f"*/{RECORD}") if path.parent.name.startswith(name)
    )


def survey(folders: Iterable[Path]) -> Survey:
    """Read these channels. A broken one that is known to be closed matters to nobody."""
    found: list[Found] = []
    broken: list[Broken] = []
    for folder in folders:
        try:
            found.append(Found(folder, *read_channel(folder)))
        except SetupError as error:
            if not is_marked(folder, CLOSED):
                broken.append(Broken(folder, _record_of(folder), error))
    found.sort(key=lambda one: -one.record.opened_at)
    return Survey(found, broken)


def _record_of(folder: Path) -> ChannelRecord | None:
    try:
        return read_record(folder)
    except SetupError:
        return None


def channel_folders(root: Path) -> list[Path]:
    """The folders of all channels that can be read, the newest first."""
    return [one.folder for one in survey(named_folders(root)).found]


class Wallet:
    """The channels below a folder, paid from within `caps`."""

    def __init__(
        self,
        root: Path,
        caps: Caps,
        *,
        clock: Callable[[], int],
        funder: Funder | None = None,
    ) -> None:
        self.root = root
        self.funder = funder
        self.caps = caps
        self._clock = clock
        self._lock = threading.Lock()
        self._payers: dict[str, Payer] = {}
        self._told: set[Path] = set()

    def find(self, identity: str, payer: str) -> Payer | None:
        """The channel that pays a gateway for a payer's requests (both hex), None without one.

        Raises `ChannelHalted` where the only one is of a gateway that lied, `SetupError` where
        another process has it, or where the only one is broken.
        """
        with self._lock:
            found = self._open(identity, payer) or self._look(identity, payer)
        if found is not None:
            found.check_usable()
        return found

    def _open(self, identity: str, payer: str) -> Payer | None:
        """Among those that are open already."""
        mine = [one for one in self._payers.values() if _serves(one.store.record, identity, payer)]
        return next((one for one in reversed(mine) if _is_live(one)), None)

    def _look(self, identity: str, payer: str) -> Payer | None:
        """On the disk, where a command may have made a new one meanwhile."""
        halted = None
        seen = self._survey()
        for found in seen.found:
            books = found.purse
            if not _serves(found.record, identity, payer) or books.closing or not books.deposited:
                continue
            one = self._take(found)
            if _is_live(one):
                return one
            halted = one if one.purse.alarm else halted
        if halted is None:
            _refuse(seen.broken, lambda record: _serves(record, identity, payer))
        return halted

    def _survey(self) -> Survey:
        """All channels; each that is broken is told of once."""
        seen = survey(named_folders(self.root))
        for one in seen.broken:
            if one.folder not in self._told:
                self._told.add(one.folder)
                _log.warning("a channel is left out: %s", one.error.message)
        return seen

    def _take(self, found: Found) -> Payer:
        one = open_payer(found.folder, self.caps, clock=self._clock)
        self._hold(one)
        return one

    def keep(self, payer: Payer) -> None:
        """Take over a channel that was opened for this wallet."""
        with self._lock:
            self._hold(payer)

    def _hold(self, payer: Payer) -> None:
        """As one user of it, however often it was found."""
        held = self._payers.get(payer.name)
        if held is not None:
            give_back(held)
        self._payers[payer.name] = payer

    def open_for(self, origin: str) -> list[Payer]:
        """Take all live channels of a gateway's URL now, so that a conflict shows at the start."""
        with self._lock:
            seen = self._survey()
            live = [
                found
                for found in seen.found
                if found.record.origin == origin and not found.purse.closing
            ]
            for found in live:
                self._take(found)
            if not live:
                _refuse(seen.broken, lambda record: record.origin == origin)
            return list(self._payers.values())

    def payer_of(self, sealed: Sealed) -> Payer | None:
        """The channel that a sealed request names."""
        name = sealed.request.header.header.channel
        return None if isinstance(name, UnsetType) else self._payers.get(name)

    def heard(self, answer: VerifiedAnswer) -> None:
        """A verified receipt: it proves what was spent, whichever channel it was."""
        for payer in list(self._payers.values()):
            payer.prove(answer.receipt.statement)

    def close(self) -> None:
        """Give all channels back, once what is being opened or filled is."""
        if self.funder is not None:
            self.funder.close()
        with self._lock:
            for payer in self._payers.values():
                give_back(payer)
            self._payers.clear()


def _refuse(broken: list[Broken], meant: Callable[[ChannelRecord], bool]) -> None:
    """Raises `SetupError` where the channel that is meant is broken, and no other does its work."""
    for one in broken:
        if one.record is not None and meant(one.record):
            raise one.error


def _serves(record: ChannelRecord, identity: str, payer: str) -> bool:
    return (record.identity, record.payer) == (identity, payer)


def _is_live(payer: Payer) -> bool:
    return not (payer.purse.closing or payer.purse.alarm)
