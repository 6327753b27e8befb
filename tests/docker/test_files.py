"""Images, compose files and units hold the rules that no engine is needed for."""

import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gateway.openapi import PUBLIC
from gateway.settings import GatewaySettings
from tests.docker.image import (
    COMPOSE,
    DOCKER,
    DOCKERFILES,
    ROOT,
    UNITS,
    copied,
    is_in_context,
    services,
    stages,
)
from ton.settings import TonSettings
from worker.settings import WorkerSettings

SETTINGS = {
    *(f"BOMBYX_GATEWAY_{name.upper()}" for name in GatewaySettings.model_fields),
    *(f"BOMBYX_WORKER_{name.upper()}" for name in WorkerSettings.model_fields),
    *(f"BOMBYX_TON_{name.upper()}" for name in TonSettings.model_fields),
    "BOMBYX_STATE",
    "BOMBYX_CONFIG",
}
FILES = [*DOCKERFILES, *COMPOSE, *UNITS, DOCKER / "install-role", DOCKER / "compose/write-policy"]
OURS = [
    pytest.param(service, id=f"{path.stem}-{name}")
    for path in COMPOSE
    for name, service in services(path).items()
]


COMMANDS = ("db", "doctor", "gateway", "keys", "models", "owner", "policy", "worker")
GROUPS = {"db", "keys", "models", "owner", "policy"}


def named(path: Path) -> str:
    return path.name


@cache
def help_of(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "bombyx", *words, "--help"],
        capture_output=True, text=True, check=True, timeout=60,
        env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    return done.stdout


def called(text: str) -> set[tuple[str, ...]]:
    """Every `bombyx …` of a file, and what compose and Dockerfiles give to the entry point."""
    shell = re.findall(rf"bombyx ((?:{'|'.join(COMMANDS)})\b[^\n|\">&'`)]*)", text)
    listed = re.findall(r"(?:CMD|command:) (\[\"(?:gateway|worker)\".*\])", text)
    return {tuple(line.split()) for line in shell} | {tuple(json.loads(line)) for line in listed}


@pytest.mark.parametrize("path", FILES, ids=named)
def test_every_command_and_flag_exists(path: Path) -> None:
    for words in called(path.read_text(encoding="utf-8")):
        has_part = words[0] in GROUPS or words[1:2] == ("proxy-config",)
        told = help_of(*words[: 2 if has_part else 1])
        flags = {word for word in words if word.startswith("--")}
        assert {flag for flag in flags if f" {flag} " not in told} == set(), words


def test_the_commands_are_found_at_all() -> None:
    found = {words[0] for path in FILES for words in called(path.read_text(encoding="utf-8"))}
    assert {"gateway", "worker", "policy", "models", "keys"} <= found


@pytest.mark.parametrize("path", FILES, ids=named)
def test_every_setting_exists(path: Path) -> None:
    named_here = re.findall(r"BOMBYX_[A-Z_]+", path.read_text(encoding="utf-8"))
    assert set(named_here) - SETTINGS == set()


@pytest.mark.parametrize("path", DOCKERFILES, ids=named)
def test_an_image_is_named_by_its_digest_or_the_build_fails(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for stage in stages(path):
        name = re.fullmatch(r"\$\{([A-Z_]+):\?must-be-NAME@sha256:DIGEST\}", stage.image)
        assert name is not None, stage.image
        assert f"\nARG {name[1]}\n" in text
        assert f'"${name[1]}" in *@sha256:*)' in text


@pytest.mark.parametrize("path", DOCKERFILES, ids=named)
def test_an_image_runs_as_nobody_special(path: Path) -> None:
    final = stages(path)[-1]
    assert final.last("USER").rest == "10001:10001"
    assert final.steps.index(final.last("USER")) > final.steps.index(final.last("COPY"))
    assert not final.all("RUN")
    assert not final.all("ADD")


@pytest.mark.parametrize("path", DOCKERFILES, ids=named)
def test_what_is_copied_is_there_and_in_the_context(path: Path) -> None:
    for stage in stages(path):
        for sources, _ in copied(stage):
            assert [one for one in sources if not (ROOT / one).exists()] == []
            assert [one for one in sources if not is_in_context(one)] == []


def test_the_health_check_asks_what_the_gateway_serves() -> None:
    final = stages(DOCKER / "gateway.Dockerfile")[-1]
    url = re.search(r"http://127\.0\.0\.1:(\d+)(/\w+)", final.last("HEALTHCHECK").rest)
    assert url is not None
    port = str(GatewaySettings().port)
    assert (url[1], url[2] in PUBLIC) == (port, True)
    assert final.last("EXPOSE").rest == port
    assert final.environment()["BOMBYX_GATEWAY_PORT"] == port


@pytest.mark.parametrize("service", OURS)
def test_a_service_is_locked_in(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("privileged") is None
    assert service.get("network_mode") in {None, "none"}
    assert set(service.get("cap_add", [])) <= {"NET_BIND_SERVICE"}


@pytest.mark.parametrize("service", OURS)
def test_an_image_of_others_is_a_variable_that_must_be_set(service: dict[str, Any]) -> None:
    if "build" not in service:
        assert re.match(r"\$\{[A-Z_]+_IMAGE:\?[^}]*digest\}$", service["image"])


@pytest.mark.parametrize("path", COMPOSE, ids=named)
def test_root_is_explained(path: Path) -> None:
    """A service that is root stands right below a sentence that says why."""
    lines = path.read_text(encoding="utf-8").splitlines()
    for before, line in pairwise(lines):
        if 'user: "0:0"' in line:
            assert before.lstrip().startswith("# ")


def test_only_the_proxy_and_this_machine_get_in() -> None:
    ports = {
        (path.stem, name): service["ports"]
        for path in COMPOSE
        for name, service in services(path).items()
        if "ports" in service
    }
    assert ports == {
        ("development", "gateway"): ["127.0.0.1:8080:8080"],
        ("operator", "caddy"): ["80:80", "443:443"],
    }


@pytest.mark.parametrize("path", COMPOSE, ids=named)
def test_what_compose_builds_and_mounts_is_there(path: Path) -> None:
    for service in services(path).values():
        if "build" in service:
            context = (path.parent / service["build"]["context"]).resolve()
            assert (context / service["build"]["dockerfile"]).is_file()
        mounts = [str(one) for one in service.get("volumes", []) if str(one).startswith("./")]
        for mount in mounts:
            source = mount.partition(":")[0]
            assert (path.parent / source).exists() or source == "./policy.toml"


def test_the_operators_proxy_gets_rules_for_every_process() -> None:
    """The command of `rules`, run with its environment, for the site of the operator."""
    service = services(DOCKER / "compose/operator.yaml")["rules"]
    given = {"SITE": "gateway.example", "PROCESSES": "3"}
    environ = {
        name: re.sub(r"\$\{([A-Z]+):[^}]*\}", lambda found: given[found[1]], str(value))
        for name, value in service["environment"].items()
    }
    line = re.search(r"bombyx (gateway [^>]*) > /rules/Caddyfile", service["command"][0])
    assert line is not None
    done = subprocess.run(
        [sys.executable, "-m", "bombyx", *line[1].split()],
        capture_output=True, text=True, check=True, timeout=60, env={**os.environ, **environ},
    )  # fmt: skip
    assert done.stdout.startswith("gateway.example {")
    upstreams = re.findall(r"reverse_proxy (\S+)", done.stdout)
    assert upstreams == ["gateway:8100", "gateway:8101", "gateway:8102", "gateway:8080"]


def test_nothing_is_called_latest() -> None:
    assert [p.name for p in FILES if ":latest" in p.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize("path", UNITS, ids=named)
def test_a_unit_is_locked_in(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    for line in (
        "ProtectSystem=strict",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "LimitCORE=0",
        "ProtectKernelTunables=yes",
    ):
        assert line in lines
    assert any(line.startswith("StateDirectory=") for line in lines)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
@pytest.mark.parametrize("path", UNITS, ids=named)
def test_systemd_understands_a_unit(path: Path, tmp_path: Path) -> None:
    text = re.sub(
        r"/opt/bombyx(-owner)?/bin/bombyx",
        shutil.which("true") or "",
        path.read_text(encoding="utf-8"),
    )
    (tmp_path / path.name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / path.name)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
