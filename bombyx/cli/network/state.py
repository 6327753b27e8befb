"""The folder of one network: what lies where, and that only one process uses it at a time."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from bombyx.errors import SetupError
from bombyx.files.durable import replace_durably

_PRIVATE_FILE, _PRIVATE_FOLDER = 0o600, 0o700


@dataclass(frozen=True, slots=True)
class NetworkState:
    """Paths below the folder, which gateway and sidecar use as their state directory too."""

    folder: Path

    @property
    def policy(self) -> Path:
        """Which workers gateway and sidecar accept."""
        return self.folder / "policy.toml"

    @property
    def simulated_root(self) -> Path:
        """Key and certificate that the simulated machines end in."""
        return self.folder / "simulated-root.pem"

    @property
    def database(self) -> Path:
        """Accounts, claims, receipts, ledger: where the gateway puts them by default."""
        return self.folder / "gateway.db"

    @property
    def database_name(self) -> Path:
        """The digest of the database's URL that the keys are for; empty for the file above."""
        return self.folder / "database-name"

    @property
    def api_key(self) -> Path:
        """The key that the snippet uses."""
        return self.folder / "api-key"

    @property
    def admin_key(self) -> Path:
        """The key for `/admin/v1`."""
        return self.folder / "admin-key"

    @property
    def receipts(self) -> Path:
        """Receipt files that the demo wrote."""
        return self.folder / "receipts"

    @property
    def payer(self) -> Path:
        """The sidecar's state where it pays by channel: its wallet, its channels, their books."""
        return self.folder / "payer"

    @property
    def owner(self) -> Path:
        """Wallet, key and outbox of whoever owns the workers, where there is a chain."""
        return self.folder / "owner"

    def worker(self, number: int) -> Path:
        """The state of worker `number`: its journal, and a link to the models."""
        return self.folder / f"worker-{number}"

    def log(self, name: str) -> Path:
        """The log of one process."""
        return self.folder / "logs" / f"{name}.log"


@contextlib.contextmanager
def occupy(folder: Path) -> Iterator[NetworkState]:
    """The folder, made if need be and ours until the end; raises `SetupError` if another's."""
    state = NetworkState(folder)
    try:
        for path in (folder, folder / "logs", state.receipts):
            path.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        handle = os.open(folder / "in-use", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE_FILE)
    except OSError as error:
        raise SetupError(f"cannot write to {folder}: {error.strerror}") from None
    try:
        _lock(handle, folder)
        yield state
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        error = SetupError(f"another bombyx network is running in {folder}")
        error.add_note("stop it, or name another folder with --state")
        raise error from None


def share_models(state: NetworkState, number: int) -> None:
    """Let a worker find its model in the user's cache: one copy for all workers and networks."""
    folder = state.worker(number)
    folder.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
    models = folder / "models"
    if models.is_symlink() or models.exists():
        return
    cache = user_cache_path("bombyx") / "models"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        writable = os.access(cache, os.W_OK)
    except OSError:
        writable = False
    if not writable:  # a home that cannot be written to, as of a service user
        cache = state.folder / "models"
        cache.mkdir(exist_ok=True)
    models.symlink_to(cache, target_is_directory=True)


def fresh_log(state: NetworkState, name: str) -> Path:
    """The log of a process that is about to start; the one before is kept beside it."""
    log = state.log(name)
    with contextlib.suppress(FileNotFoundError):
        log.replace(log.with_name(f"{log.name}.1"))
    os.close(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE))
    return log


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600, whole or not at all."""
    replace_durably(path, text.encode())


def read_private(path: Path) -> str | None:
    """The text of a key file without its line end, None where there is none."""
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None
