"""configfs-tsm without a TEE: the kernel's half, on real files.

The quoter runs unchanged and makes its own system calls. An audit hook of the interpreter, which is
called before `mkdir`, `open` and `rmdir` reach the kernel, plays the driver in between: it fills a
new directory, answers before `outblob` is opened, and empties the directory before it is removed.
So a race is shown exactly where it can happen: between two calls of the quoter.
"""

import contextlib
import errno
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_trees: "list[FakeTsm]" = []
_hooked = False


@dataclass(eq=False)
class FakeTsm:
    """One driver behind a folder; `quote` gives report and certificates for 64 bytes."""

    root: Path
    provider: str
    quote: Callable[[bytes], tuple[bytes, bytes]]
    before: dict[str, list[Callable[[Path], None]]] = field(default_factory=dict)
    """By attribute: what happens just before it is opened the next time, once each."""
    floor: int | None = None
    has_tee: bool = True
    written: list[tuple[str, bytes]] = field(default_factory=list)
    _busy: bool = False
    _open: dict[Path, bytes] = field(default_factory=dict)

    def handle(self, event: str, arguments: tuple[object, ...]) -> None:
        """A system call that is about to be made."""
        if self._busy or not isinstance(arguments[0], str | Path):
            return
        path = Path(arguments[0])
        if self.root not in path.parents:
            return
        self._busy = True
        try:
            if event == "os.mkdir":
                self._make(path)
            elif event == "os.rmdir":
                self._empty(path)
            elif event == "open" and path.parent in self._open:
                self._opened(path)
        finally:
            self._busy = False

    def write(self, entry: Path, name: str, data: bytes) -> None:
        """Somebody else's write to an attribute."""
        self._take(entry, name, data)

    def _make(self, entry: Path) -> None:
        if not self.has_tee:
            raise OSError(errno.ENXIO, "No such device or address")
        # The kernel makes directory and attributes at once: the quoter's mkdir must then succeed,
        # so what is made here stands aside until the first attribute is opened.
        self._open[entry] = b""

    def _fill(self, entry: Path) -> None:
        files = {"generation": "0", "provider": f"{self.provider}\n", "inblob": "", "outblob": ""}
        if self.floor is not None:
            files |= {"privlevel_floor": str(self.floor), "privlevel": ""}
        for name, text in files.items():
            (entry / name).write_text(text)
        (entry / "auxblob").write_bytes(b"")

    def _opened(self, path: Path) -> None:
        entry = path.parent
        if not (entry / "generation").exists():
            self._fill(entry)
        self._collect(entry)
        for action in self.before.get(path.name, [])[:1]:
            self.before[path.name].pop(0)
            action(entry)
        if path.name == "outblob":
            if not self._open[entry]:
                raise OSError(errno.EINVAL, "Invalid argument")
            report, certificates = self.quote(self._open[entry])
            (entry / "outblob").write_bytes(report)
            (entry / "auxblob").write_bytes(certificates)

    def _collect(self, entry: Path) -> None:
        """What the quoter has written since."""
        for name in ("privlevel", "inblob"):
            path = entry / name
            if path.exists() and (data := path.read_bytes()):
                path.write_bytes(b"")
                self.written.append((name, data))
                self._take(entry, name, data)

    def _take(self, entry: Path, name: str, data: bytes) -> None:
        generation = entry / "generation"
        generation.write_text(str(int(generation.read_text()) + 1))
        if name == "inblob":
            self._open[entry] = data

    def _empty(self, entry: Path) -> None:
        for path in entry.iterdir() if entry.exists() else ():
            path.unlink()
        self._open.pop(entry, None)


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _trees and event in ("open", "os.mkdir", "os.rmdir"):
        for tree in tuple(_trees):
            tree.handle(event, arguments)


@contextlib.contextmanager
def running(tree: FakeTsm) -> Iterator[FakeTsm]:
    """Play the driver for as long as this lasts; nothing is left behind in the folder."""
    global _hooked  # noqa: PLW0603 - a hook stays for the life of the interpreter
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked = True
    _trees.append(tree)
    try:
        yield tree
    finally:
        _trees.remove(tree)
    assert list(tree.root.iterdir()) == []
