"""What a Dockerfile and a compose file say, as far as our own are written; no engine is asked."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # it ships no types

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
COMPOSE = sorted((DOCKER / "compose").glob("*.yaml"))
UNITS = sorted((DOCKER / "systemd").glob("*.service"))


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction, its continuation lines joined."""

    word: str
    rest: str

    def words(self) -> list[str]:
        """The JSON form of ENTRYPOINT, CMD and HEALTHCHECK."""
        found = re.search(r"\[.*\]$", self.rest)
        return [] if found is None else list(json.loads(found[0]))


@dataclass(slots=True)
class Stage:
    """From one FROM to the next."""

    image: str
    name: str
    steps: list[Step] = field(default_factory=list)

    def all(self, word: str) -> list[Step]:
        return [step for step in self.steps if step.word == word]

    def last(self, word: str) -> Step:
        return self.all(word)[-1]

    def environment(self) -> dict[str, str]:
        pairs = (part.partition("=") for step in self.all("ENV") for part in step.rest.split())
        return {name: value for name, _, value in pairs}


def stages(path: Path) -> list[Stage]:
    """The stages of a Dockerfile."""
    found: list[Stage] = []
    for step in _steps(path.read_text(encoding="utf-8")):
        if step.word == "FROM":
            image, _, name = step.rest.partition(" AS ")
            found.append(Stage(image, name))
        elif found:
            found[-1].steps.append(step)
    return found


def _steps(text: str) -> Iterator[Step]:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        word, _, rest = line.partition(" ")
        yield Step(word, rest)


def copied(stage: Stage) -> list[tuple[list[str], str]]:
    """Sources and target of every COPY out of the build context."""
    plain = [step.rest.split() for step in stage.all("COPY") if "--from=" not in step.rest]
    return [(words[:-1], words[-1]) for words in plain]


def services(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """The services of a compose file."""
    found: Mapping[str, Mapping[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))[
        "services"
    ]
    return found


def is_in_context(name: str) -> bool:
    """Whether .dockerignore lets a path into the build context."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = [line[1:] for line in lines if line.startswith("!")]
    return any(name == one or name.startswith(f"{one}/") for one in let_in)
