"""`bombyx doctor` as an owner runs it, beside a driver and without, with a gateway and without."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.worker.gpu.library import ROOT, environment
from worker.clock import now_ms


def doctor(tmp_path: Path, *flags: str, env: dict[str, str] | None = None) -> tuple[int, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "bombyx", "doctor", "--state", str(tmp_path), *flags, "--json"],
        cwd=ROOT, env=env, capture_output=True, check=False, text=True,
    )  # fmt: skip
    document = json.loads(done.stdout)
    return done.returncode, {one["name"]: one for one in document["checks"]}


class Gateway(BaseHTTPRequestHandler):
    skew = 0

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.send_response_only(200 if self.path == "/readyz" else 404)
        self.send_header("date", formatdate(now_ms() / 1000 + self.skew, usegmt=True))
        self.send_header("content-length", "0")
        self.end_headers()


@pytest.fixture
def gateway() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Gateway)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_machine_without_gpus_is_well_unless_hardware_is_wanted(tmp_path: Path) -> None:
    code, checks = doctor(tmp_path, "--engine", "scripted")
    assert (code, checks["driver"]["result"]) == (0, "unknown")
    assert list(checks) == [
        "python", "disk", "memory", "time", "gateway", "engine", "model", "driver", "gpus",
        "gpu-cc", "gpu-devtools", "gpu-ready", "model-fits", "tee",
    ]  # fmt: skip
    code, checks = doctor(tmp_path, "--engine", "scripted", "--hardware")
    assert (code, checks["driver"]["result"]) == (1, "fail")


@pytest.mark.parametrize(
    ("knobs", "cc", "devtools"),
    [({}, "pass", "pass"), ({"cc": 0}, "fail", "pass"), ({"devtools": 1}, "pass", "fail")],
)
def test_modes_of_the_gpus_are_told_apart(
    tmp_path: Path, knobs: dict[str, int], cc: str, devtools: str
) -> None:
    flags = ("--engine", "scripted", "--hardware")
    _, checks = doctor(tmp_path, *flags, env=environment(**knobs))
    assert (checks["gpu-cc"]["result"], checks["gpu-devtools"]["result"]) == (cc, devtools)
    assert checks["driver"]["detail"] == "NVIDIA driver 590.12"


def test_a_gateway_is_reached_and_its_time_compared(
    tmp_path: Path, gateway: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("--engine", "scripted", "--gateway", gateway)
    code, checks = doctor(tmp_path, *flags)
    assert (code, checks["gateway"]["result"], checks["time"]["result"]) == (0, "pass", "pass")
    monkeypatch.setattr(Gateway, "skew", -900)
    code, checks = doctor(tmp_path, *flags)
    assert (code, checks["time"]["result"]) == (1, "fail")
    assert "s ahead of the gateway's" in checks["time"]["detail"]


def test_a_gateway_that_is_away_and_an_address_that_is_none_are_told(tmp_path: Path) -> None:
    for url in ("http://127.0.0.1:1", "http://[", "nonsense"):
        code, checks = doctor(tmp_path, "--engine", "scripted", "--gateway", url)
        assert (code, checks["gateway"]["result"]) == (1, "fail"), url
