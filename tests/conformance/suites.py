"""The suites, each a command of its own process, and how its report is read."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.conformance.network import BOMBYX, Running
from tests.conformance.record import FAILED, PASSED, SKIPPED, Case, Ran

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
OTHERS = ROOT / ".compat/conformance/bin"
PACKAGES = ROOT / "clients/js"
SECONDS = 300
"""A suite takes seconds; whoever hangs fails."""
Report = tuple[str, list[Case]]


@dataclass(frozen=True, slots=True)
class Suite:
    """A name, the command for a URL, and what becomes of its output: version and cases."""

    name: str
    command: Callable[[Running, str], Sequence[str]]
    read: Callable[[Any], Report]
    environment: Callable[[Running], Mapping[str, str]] = lambda _: {}

    def run(self, network: Running, tier: str) -> Ran:
        """Run against a tier; a suite that reports nothing is one failed case."""
        began = time.monotonic()
        try:
            found, cases = self.read(json.loads(self._output(network, tier)))
        except (OSError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
            found, cases = (
                "?",
                [Case("the suite itself", FAILED, f"{type(error).__name__}: {error}")],
            )
        return Ran(self.name, found, tier, cases, time.monotonic() - began)

    def _output(self, network: Running, tier: str) -> str:
        done = subprocess.run(
            self.command(network, network.tiers[tier]),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            env={**os.environ, **self.environment(network)},
        )
        if not done.stdout.strip():
            raise ValueError(done.stderr.strip()[-500:] or "it said nothing")
        return done.stdout


def _comply(form: str) -> Suite:
    def command(network: Running, url: str) -> list[str]:
        model = ("-m", network.model, "--json")
        return [str(OTHERS / "llm-comply"), "--format", form, "-u", url, "-k", network.key, *model]

    results = {"passed": PASSED, "skipped": SKIPPED}

    def read(report: Any) -> Report:
        cases = [
            Case(one["id"], results.get(one["status"], FAILED), "; ".join(one.get("errors") or ()))
            for one in report["results"]
        ]
        return _pinned("llm-comply"), cases

    return Suite(f"llm-comply {form}", command, read)


def _apiwells() -> Suite:
    def command(network: Running, url: str) -> list[str]:
        doctor = [str(OTHERS / "apiwells"), "doctor", "--base-url", url, "--deep"]
        return [*doctor, "--model", network.model, "--v2-json"]

    def read(report: Any) -> Report:
        results = {"PASS": PASSED}
        cases = [
            Case(one["name"], results.get(one["status"], FAILED), one["summary"])
            for one in report["probes"]
        ]
        return report["apiwells_version"], cases

    return Suite("apiwells", command, read, lambda network: {"APIWELLS_API_KEY": network.key})


def _own() -> Suite:
    def command(network: Running, url: str) -> list[str]:
        return [BOMBYX, "conformance", url, "--model", network.model, "--json"]

    def read(report: Any) -> Report:
        return version("bombyx"), _cases(report["checks"])

    return Suite(
        "bombyx conformance", command, read, lambda network: {"OPENAI_API_KEY": network.key}
    )


def _python(major: int) -> Suite:
    def command(network: Running, url: str) -> list[str]:
        keys = (network.key, network.narrow_key, network.poor_key)
        return [sys.executable, str(HERE / "sdk_cases.py"), url, network.model, *keys]

    folder = ROOT / f".compat/openai-{major}"
    path = {"PYTHONPATH": str(folder)} if folder.is_dir() else {}
    return Suite(f"openai Python {major}.x", command, _sdk, lambda _: path)


def _node(name: str, package: str) -> Suite:
    def command(network: Running, url: str) -> list[str]:
        script = ["node", str(HERE / "sdk_cases.mjs"), str(PACKAGES), package]
        return [*script, url, network.model, network.key]

    return Suite(name, command, _sdk)


def _sdk(report: Any) -> Report:
    return report["version"], _cases(report["cases"])


def _cases(entries: Any) -> list[Case]:
    return [Case(one["name"], one["result"], one["said"]) for one in entries]


def _pinned(package: str) -> str:
    """The version in the lock file, which is the one installed."""
    lock = (ROOT / "requirements/conformance.txt").read_text(encoding="utf-8")
    return next(
        line.split("==")[1].split()[0]
        for line in lock.splitlines()
        if line.startswith(f"{package}==")
    )


SUITES = (
    _own(),
    _comply("openai-chat"),
    _comply("open-responses"),
    _comply("anthropic"),
    _apiwells(),
    _python(3),
    _python(2),
    _python(1),
    _node("openai JavaScript", "openai"),
    _node("Vercel AI SDK", "ai"),
)
