"""A second user of the same machine: wants keys, prompts, or to be taken for somebody else."""

import asyncio
import contextlib
import os
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bombyx.attack.defence import Defence
from bombyx.attack.means.relay import relaying
from bombyx.attack.means.victim import Victim
from bombyx.attack.record import Role, Seen, attack, defeated, judged, succeeded
from bombyx.attack.target import Need, Target
from bombyx.client.opening import PAYER_FILE, load_identity
from bombyx.client.sidecar_server import loopback_sockets
from bombyx.errors import SetupError

NOBODY = 65_534
HEAD, PS = "/usr/bin/head", "/bin/ps"
PLANTED = "ab" * 32
OTHERS_READ = 0o077
SECRETS = ("key", "token", "secret", "database", "journal", ".db", ".pem", "payer")
"""Parts of the names of files that hold secrets or content."""


def secret_files(folder: Path) -> list[Path]:
    """Every file below that holds a secret, by its name."""
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and any(part in path.name for part in SECRETS)
    ]


@attack(Role.NEIGHBOUR, Defence.FILES, "no file of keys or books is open", Need.FOLDER)
async def state_files_read(target: Target) -> Seen:
    """Reads keys, databases and journals in the network's state folder."""
    folder = target.folder
    if folder is None:
        raise ValueError("no folder")
    files = secret_files(folder)
    if len(files) < 5:  # noqa: PLR2004 - a network has more
        raise ValueError(f"only {len(files)} files with secrets were found")
    open_files = [path.name for path in files if path.stat().st_mode & OTHERS_READ]
    if os.getuid() == 0:
        open_files += await asyncio.to_thread(_read_as_nobody, files)
    if open_files:
        return succeeded(f"open to others: {', '.join(sorted(set(open_files)))}")
    return defeated(f"none of {len(files)} files is open to others")


def _read_as_nobody(files: list[Path]) -> list[str]:
    """Those that another user really reads."""
    found = []
    for path in files:
        # `head` and no script: the interpreter may lie where that user cannot reach it.
        done = subprocess.run(  # noqa: S603 - a fixed command
            [HEAD, "-c", "1", str(path)],
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            capture_output=True,
            check=False,
        )
        found += [path.name] if done.returncode == 0 else []
    return found


@contextlib.contextmanager
def planted() -> Iterator[Path]:
    """A state folder that the victim is about to use for the first time."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _used(folder: Path) -> Seen:
    try:
        identity = load_identity(folder)
    except SetupError:
        return defeated("the client refuses the planted file")
    return judged(identity.payer_root.hex() == PLANTED, "the client took a key of its own or ours")


@attack(Role.NEIGHBOUR, Defence.FILES, "the link is refused")
async def payer_key_planted_by_link(target: Target) -> Seen:  # noqa: ARG001 - the library alone
    """Plants a symbolic link to a key it knows where the client's own will be."""
    with planted() as folder, planted() as elsewhere:
        known = elsewhere / "known"
        known.write_text(PLANTED)
        known.chmod(0o600)
        (folder / PAYER_FILE).symlink_to(known)
        return _used(folder)


@attack(Role.NEIGHBOUR, Defence.FILES, "a file open to others is refused")
async def payer_key_planted_readable(target: Target) -> Seen:  # noqa: ARG001 - the library alone
    """Plants a key file that it can read again, where the client's own will be."""
    with planted() as folder:
        (folder / PAYER_FILE).write_text(PLANTED)
        (folder / PAYER_FILE).chmod(0o644)
        return _used(folder)


@attack(Role.NEIGHBOUR, Defence.FILES, "made with mode 0600")
async def fresh_key_read(target: Target) -> Seen:  # noqa: ARG001 - the library alone
    """Reads the keys that a client has just made, under a lax umask."""
    before = os.umask(0)
    try:
        with planted() as folder:
            with contextlib.suppress(SetupError):
                load_identity(folder / "client")
            modes = [path.stat().st_mode for path in (folder / "client").rglob("*")]
    finally:
        os.umask(before)
    lax = [stat.filemode(mode) for mode in modes if mode & OTHERS_READ]
    return judged(bool(lax), f"{len(modes)} files, open to others: {', '.join(lax) or 'none'}")


@attack(Role.NEIGHBOUR, Defence.LOOPBACK, "the sidecar takes another port, with both addresses")
async def port_taken_on_the_other_loopback(target: Target) -> Seen:  # noqa: ARG001 - the library
    """Listens on ::1 at the sidecar's port, since many clients try it before 127.0.0.1."""
    with contextlib.closing(socket.socket(socket.AF_INET6)) as ours:
        try:
            ours.bind(("::1", 0))
        except OSError:
            return defeated("this machine has no ::1")
        ours.listen()
        port = ours.getsockname()[1]
        with loopback_sockets(port) as sockets:
            got = sockets[0].getsockname()[1]
    return judged(got == port, f"the sidecar took port {'ours' if got == port else 'another'}")


@attack(Role.NEIGHBOUR, Defence.CONTENT_FREE, "no key is in a command line", Need.FOLDER)
async def keys_in_command_lines(target: Target) -> Seen:
    """Reads the command lines and, where it may, environments of all processes."""
    found = []
    lines = 0
    for pid in target.pids:
        line = await asyncio.to_thread(_command_line, pid)
        lines += bool(line)
        found += [key for key in (target.api_key, target.admin_key) if key.encode() in line]
    if not lines:
        raise ValueError("no command line could be read")
    return judged(bool(found), f"{lines} command lines, {len(found)} keys in them")


def _command_line(pid: int) -> bytes:
    """As any user of the machine sees it."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    command = [PS, "-o", "args=", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, check=False).stdout  # noqa: S603 - fixed


@attack(
    Role.NEIGHBOUR, Defence.CONTENT_FREE, "no prompt, answer or key is in any file",
    Need.FOLDER, Need.GATEWAY,
)  # fmt: skip
async def prompts_in_files(target: Target) -> Seen:
    """Searches every log, database and journal for what was asked and answered."""
    folder = target.folder
    if folder is None:
        raise ValueError("no folder")
    canary = f"canary{os.urandom(8).hex()}"
    async with relaying(target) as relay:
        told = await Victim(target).ask(relay.url, f"say: {canary}")
    if canary not in told.text:
        raise ValueError(f"the canary was not answered: {told}")
    wanted = (canary.encode(), target.api_key.encode())
    found = [
        path.name
        for path in folder.rglob("*")
        if path.is_file() and path.name != "api-key" and _holds(path, wanted)
    ]
    return judged(bool(found), f"found in: {', '.join(found) or 'nothing'}")


def _holds(path: Path, wanted: tuple[bytes, ...]) -> bool:
    with contextlib.suppress(OSError):
        data = path.read_bytes()
        return any(one in data for one in wanted)
    return False
