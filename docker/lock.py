# ruff: noqa: INP001 - a script that runs where nothing is installed
"""What of the lock file a role needs, and the bill of materials that says so.

    lock.py requirements ROLE    a requirements file for `pip install --require-hashes --no-deps`
    lock.py wheels ROLE          folders whose wheels the role is made of, one a line
    lock.py sbom ROLE            CycloneDX 1.6 as JSON; `--image NAME@sha256:…` adds what it lies on

The lock's `# via` comments are its graph, read from the parent's side. `build` is the role that
makes wheels. Standard library only: it runs in a builder before anything is installed.
"""

import argparse
import json
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
LOCK: Final = ROOT / "requirements/dev.txt"
PROJECT: Final = "bombyx"


@dataclass(frozen=True, slots=True)
class Role:
    """Extras of the project, packages beside them, and folders of wheels."""

    extras: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    wheels: tuple[str, ...] = ()


ROLES: Final[Mapping[str, Role]] = {
    "build": Role(packages=("hatchling",)),
    "gateway": Role(
        extras=("gateway", "postgres", "ton"),
        wheels=(".", "packaging/gateway", "packaging/ton"),
    ),
    "owner": Role(extras=("ton",), wheels=(".", "packaging/ton")),
    "worker-gpu": Role(extras=("worker",), wheels=(".", "packaging/worker")),
    "worker-cpu": Role(extras=("worker", "llamacpp"), wheels=(".", "packaging/worker")),
}


@dataclass(frozen=True, slots=True)
class Pin:
    """One entry of the lock: `text` is the entry itself, without comments."""

    name: str
    version: str
    text: str
    hashes: tuple[str, ...]
    parents: frozenset[str]


def parse(lock: str) -> dict[str, Pin]:
    """Every entry by its name."""
    entries = re.split(r"\n(?=[A-Za-z0-9])", "\n" + lock.strip())
    pins = (_pin(entry) for entry in entries if entry.strip())
    return {pin.name: pin for pin in pins}


def _pin(entry: str) -> Pin:
    lines = entry.strip().splitlines()
    head = re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)", lines[0])
    if head is None:
        raise SystemExit(f"lock.py: no pin: {lines[0]}")
    code = [line for line in lines if not line.lstrip().startswith("#")]
    comments = " ".join(line.strip(" #") for line in lines if line.lstrip().startswith("#"))
    text = "\n".join(code)
    parents = frozenset(re.findall(r"[a-z0-9][a-z0-9._-]*", comments.removeprefix("via ")))
    hashes = tuple(re.findall(r"sha256:([0-9a-f]{64})", text))
    return Pin(normal(head[1]), head[2], text, hashes, parents)


def normal(name: str) -> str:
    """A distribution's name as the lock writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def chosen(role: Role, project: Mapping[str, Any], pins: Mapping[str, Pin]) -> list[Pin]:
    """What the role needs, and what that needs, in order."""
    asked = [*role.packages]
    if role.extras:
        asked += project["dependencies"]
    for extra in role.extras:
        asked += project["optional-dependencies"][extra]
    waiting = [normal(re.split(r"[\s\[<>=!~;]", line, maxsplit=1)[0]) for line in asked]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        if name not in pins:
            raise SystemExit(f"lock.py: {name} is not in the lock")
        found.add(name)
        waiting += [pin.name for pin in pins.values() if name in pin.parents]
    return [pins[name] for name in sorted(found)]


def sbom(name: str, version: str, pins: Iterable[Pin], image: str = "") -> dict[str, Any]:
    """A CycloneDX document; hashes are those that the installer accepts, one per released file."""
    pins = list(pins)
    own = f"{PROJECT}-{name}"
    components: list[dict[str, Any]] = [
        {
            "type": "library",
            "bom-ref": pin.name,
            "name": pin.name,
            "version": pin.version,
            "purl": f"pkg:pypi/{pin.name}@{pin.version}",
            "properties": [{"name": "bombyx:sha256", "value": one} for one in pin.hashes],
        }
        for pin in pins
    ]
    if image:
        components.append(_base(image))
    tops = [pin.name for pin in pins if PROJECT in pin.parents]
    graph = [{"ref": own, "dependsOn": tops + ([image] if image else [])}]
    for pin in pins:
        children = [one.name for one in pins if pin.name in one.parents]
        graph.append({"ref": pin.name, "dependsOn": children})
    about = {"type": "application", "bom-ref": own, "name": own, "version": version}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": about},
        "components": components,
        "dependencies": graph,
    }


def _base(image: str) -> dict[str, Any]:
    name, _, digest = image.partition("@sha256:")
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise SystemExit("lock.py: an image is named by its digest: NAME@sha256:…")
    hashes = [{"alg": "SHA-256", "content": digest}]
    return {"type": "container", "bom-ref": image, "name": name, "hashes": hashes}


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description="What of the lock file a role needs.")
    parser.add_argument("what", choices=("requirements", "wheels", "sbom"))
    parser.add_argument("role", choices=sorted(ROLES))
    parser.add_argument("--image", default="", help="the image below, NAME@sha256:…")
    given = parser.parse_args()
    role = ROLES[given.role]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if given.what == "wheels":
        sys.stdout.write("".join(f"{folder}\n" for folder in role.wheels))
        return
    pins = chosen(role, project, parse(LOCK.read_text(encoding="utf-8")))
    if given.what == "requirements":
        sys.stdout.write("".join(f"{pin.text}\n" for pin in pins))
        return
    document = sbom(given.role, project["version"], pins, given.image)
    sys.stdout.write(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
