"""All channels of a user: which one pays a request (SPEC 7.9), each opened when it is first needed.

A channel serves one gateway, by its identity key, and one payer key, which stands for an API key.
Sessions of one process share a channel; another process is turned away.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from weakref import WeakValueDictionary

from msgspec import UnsetType

from bombyx.client.channel import paying
from bombyx.client.channel.payer import Payer
from bombyx.client.channel.records import ChannelRecord
from bombyx.client.channel.store import RECORD, ChannelStore, Pending, read_purse, read_record
from bombyx.client.receipts import Sealed, VerifiedAnswer
from bombyx.money.channel.spending import Caps

FOLDER = "channels"
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
    """The payer of a channel's folder; of one process all share it. Raises `SetupError`."""
    place = folder.resolve()
    with _sharing:
        payer = _shared.get(place)
        if payer is None or payer.is_closed:
            payer = Payer(ChannelStore(folder), caps, clock=clock)
            _shared[place] = payer
        return payer


def channel_folders(root: Path) -> list[Path]:
    """The folders of all channels, the newest first."""
    found = [path.parent for path in root.glob(f"*/{RECORD}")]
    return sorted(found, key=lambda folder: -read_record(folder).opened_at)


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

    def find(self, identity: str, payer: str) -> Payer | None:
        """The channel that pays a gateway for a payer's requests (both hex), None without one.

        Raises `ChannelHalted` where the only one is of a gateway that lied, `SetupError` where
        another process has it.
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
        for folder in channel_folders(self.root):
            record = read_record(folder)
            books = read_purse(folder, record)
            if not _serves(record, identity, payer) or books.closing or not books.deposited:
                continue
            one = open_payer(folder, self.caps, clock=self._clock)
            self._payers[one.name] = one
            if _is_live(one):
                return one
            halted = one if one.purse.alarm else halted
        return halted

    def keep(self, payer: Payer) -> None:
        """Take over a channel that was opened for this wallet."""
        with self._lock:
            self._payers[payer.name] = payer

    def open_for(self, origin: str) -> list[Payer]:
        """Take all live channels of a gateway's URL now, so that a conflict shows at the start."""
        with self._lock:
            for folder in channel_folders(self.root):
                record = read_record(folder)
                if record.origin == origin and not read_purse(folder, record).closing:
                    one = open_payer(folder, self.caps, clock=self._clock)
                    self._payers[one.name] = one
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
                payer.close()
            self._payers.clear()


def _serves(record: ChannelRecord, identity: str, payer: str) -> bool:
    return (record.identity, record.payer) == (identity, payer)


def _is_live(payer: Payer) -> bool:
    return not (payer.purse.closing or payer.purse.alarm)
