"""Images without a container engine: RUN lines in one root folder, commands in another.

What stands in for the base image is this machine's own system and Python, read-only. The files are
those of the build context, copied as COPY says; user, capabilities and read-only root are real.
"""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.docker.image import ROOT, Stage, copied

HERE = Path(__file__).parent
BASE = Path(sys.base_prefix)
DIGEST = "rehearsal@sha256:" + "0" * 64
USER = 10001
IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc", "*.db", "node_modules")
BUILD_SECONDS = 300


@dataclass(slots=True)
class Image:
    """A builder's work: `folder` holds what the final stage copies from it."""

    stages: Sequence[Stage]
    folder: Path
    steps: list[str] = field(default_factory=list)

    def build(self) -> None:
        """Run every RUN of the builder; raises AssertionError with its output."""
        for name in ("src", "opt-bombyx", "opt-models", "root"):
            (self.folder / name).mkdir(parents=True)
        for sources, target in copied(self.stages[0]):
            for source in sources:
                self._copy(ROOT / source, target)
        runs = [step.rest for step in self.stages[0].all("RUN")]
        root = self.folder / "root"
        script = [f". {shlex.quote(str(HERE / 'rootfs.sh'))}", f"builder {root}"]
        for name, path in (("src", "/src"), ("opt-bombyx", "/opt/bombyx")):
            script.append(f"give {root} {self.folder / name} {path}")
        script.append(f"give {root} {self.folder / 'opt-models'} /opt/models")
        for run in [*runs, "test \"$(stat -c '%u:%g %a' /state)\" = '10001:10001 700'"]:
            line = f"cd /src && {run}"
            script.append(f"chroot {root} /bin/sh -c {shlex.quote(line)}")
        environ = {**os.environ, "PYTHON_IMAGE": DIGEST}
        environ["PATH"] = f"{BASE / 'bin'}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        done = subprocess.run(
            [*NAMESPACE, "bash", "-c", "\n".join(script)],
            capture_output=True, text=True, check=False, timeout=BUILD_SECONDS, env=environ,
        )  # fmt: skip
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]

    def _copy(self, source: Path, target: str) -> None:
        place = self.folder / "src" / target
        if source.is_dir():
            shutil.copytree(source, place, symlinks=True, ignore=IGNORED)
            return
        if target.endswith("/"):
            place = place / source.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, place)

    def command(self, words: Sequence[str], folders: Mapping[str, Path], *, name: str) -> list[str]:
        """How to run `words` in the final stage; `folders` are its volumes."""
        root = self.folder / f"root-{name}"
        script = [f". {shlex.quote(str(HERE / 'rootfs.sh'))}", f"runtime {root} {BASE}"]
        for kept, path in (("opt-bombyx", "/opt/bombyx"), ("opt-models", "/opt/models")):
            script.append(f"give {root} {self.folder / kept} {path}")
            script.append(f"mount -o remount,bind,ro {root}{path}")
        for path, folder in folders.items():
            folder.mkdir(parents=True, exist_ok=True)
            os.chown(folder, USER, USER)
            script.append(f"give {root} {folder} {path}")
        given = [f"{key}={value}" for key, value in self.stages[-1].environment().items()]
        line = ["/usr/bin/env", "-i", *given, *words]
        script.append(f"locked_in {root} {USER} {shlex.join(line)}")
        return [*NAMESPACE, "bash", "-c", "\n".join(script)]


NAMESPACE = ("unshare", "--mount", "--pid", "--fork", "--kill-child")


def can_rehearse() -> bool:
    """Whether this machine lets us make namespaces and mounts."""
    if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("setpriv") is None:
        return False
    probe = [*NAMESPACE, "--net", "mount", "-t", "tmpfs", "tmpfs", "/tmp"]
    return subprocess.run(probe, capture_output=True, check=False, timeout=20).returncode == 0
