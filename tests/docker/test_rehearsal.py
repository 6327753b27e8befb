"""`make images-check`: images built and run as far as can be without a container engine.

The RUN lines of gateway and worker-cpu are executed, then the services of development.yaml start as
their user, with a read-only root, no capabilities and a network of their own.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.docker.image import DOCKER, services, stages
from tests.docker.rehearsal import USER, Image, can_rehearse

pytestmark = [
    pytest.mark.skipif(os.environ.get("BOMBYX_IMAGES") != "1", reason="make images-check"),
    pytest.mark.timeout(900),
]
ROLES = ("gateway", "worker-cpu")
HEALTHY_SECONDS = 60
ALONE = ("unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
"""A network of its own, and processes that all end with the first of them."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image]:
    assert can_rehearse(), "needs root, and leave to make namespaces and mounts"
    built = {}
    for role in ROLES:
        folder = tmp_path_factory.mktemp(role)
        built[role] = Image(stages(DOCKER / f"{role}.Dockerfile"), folder / "image")
        built[role].build()
    return built


def test_an_environment_brings_a_bill_of_materials_and_no_installer(
    images: dict[str, Image],
) -> None:
    for role, image in images.items():
        environment = image.folder / "opt-bombyx"
        bill = json.loads((environment / "sbom.cdx.json").read_text(encoding="utf-8"))
        assert bill["metadata"]["component"]["name"] == f"bombyx-{role}"
        assert any(one["type"] == "container" for one in bill["components"])
        assert not list(environment.glob("lib/python3*/site-packages/pip"))


def test_an_image_cannot_write_into_itself(images: dict[str, Image], tmp_path: Path) -> None:
    script = (
        "import os, pathlib\n"
        "for place in ('/x', '/opt/bombyx/x', '/opt/models/x', '/usr/x', '/etc/x'):\n"
        "    try: pathlib.Path(place).touch()\n"
        "    except OSError: continue\n"
        "    raise SystemExit(place)\n"
        "pathlib.Path('/tmp/x').touch()\n"
        "pathlib.Path('/var/lib/bombyx/x').touch()\n"
        "status = pathlib.Path('/proc/self/status').read_text()\n"
        "wanted = ('CapBnd:\\t0000000000000000', 'CapEff:\\t0000000000000000', 'NoNewPrivs:\\t1')\n"
        "raise SystemExit(0 if os.getuid() == 10001 and all(w in status for w in wanted) else 2)\n"
    )
    command = images["gateway"].command(
        ["python", "-c", script], {"/var/lib/bombyx": tmp_path / "state"}, name="writes"
    )
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_database_comes_up_to_date(images: dict[str, Image], tmp_path: Path) -> None:
    for step in ("upgrade", "check"):
        command = images["gateway"].command(
            ["bombyx", "db", step, "--json"], {"/var/lib/bombyx": tmp_path / "state"}, name=step
        )
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "state/gateway.db").stat().st_uid == USER


def test_the_gateway_can_be_paid_by_channel(images: dict[str, Image], tmp_path: Path) -> None:
    script = "import gateway.channels.chain.side, ton.chain.opening, ton.channels.orders"
    command = images["gateway"].command(
        ["python", "-c", script], {"/var/lib/bombyx": tmp_path / "state"}, name="chain"
    )
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_development_network_answers(images: dict[str, Image], tmp_path: Path) -> None:
    """In a network namespace, since the files name fixed ports."""
    done = subprocess.run(
        [*ALONE, sys.executable, "-m", "tests.docker.test_rehearsal", str(tmp_path)],
        input=json.dumps({role: str(image.folder) for role, image in images.items()}),
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    told = json.loads(done.stdout)
    assert told["models"] == ["smollm2-135m-instruct"]
    assert told["answer"]
    assert told["codes"] == [0, 0]


def play(folder: Path, images: dict[str, Image]) -> dict[str, object]:
    """The services of development.yaml, in their order; what a client then gets."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    told = services(DOCKER / "compose/development.yaml")
    worker_state, gateway_state = folder / "worker", folder / "gateway"
    script = (DOCKER / "compose/write-policy").read_text(encoding="utf-8")
    policy = images["worker-cpu"].command(
        ["/bin/sh", "-c", script, "write-policy", *told["policy"]["command"]],
        {"/var/lib/bombyx": worker_state},
        name="policy",
    )
    subprocess.run(policy, check=True, stdout=sys.stderr, timeout=120)
    volumes = {"/var/lib/bombyx": gateway_state, "/network": worker_state}
    gateway = images["gateway"]
    words = gateway.stages[-1].last("ENTRYPOINT").words()
    running = [start(gateway.command([*words, *told["gateway"]["command"]], volumes, name="run"))]
    try:
        health = gateway.stages[-1].last("HEALTHCHECK").words()
        until_done(gateway.command(health, {"/var/lib/bombyx": gateway_state}, name="health"))
        worker = images["worker-cpu"].command(
            [*words, *told["worker"]["command"]], {"/var/lib/bombyx": worker_state}, name="run"
        )
        running.append(start(worker))
        create = ["bombyx", "keys", "create", "--credit-nano", "1000000000", "--json"]
        made = gateway.command(create, {"/var/lib/bombyx": gateway_state}, name="keys")
        key = json.loads(subprocess.run(made, check=True, capture_output=True, timeout=60).stdout)
        asked = gateway.command(
            ["python", "-c", CLIENT, key["api_key"]], {"/var/lib/bombyx": gateway_state}, name="ask"
        )
        found: dict[str, object] = json.loads(until_done(asked))
    finally:
        codes = [stop(process) for process in reversed(running)]
    return {**found, "codes": codes}


CLIENT = """
import json, sys, urllib.request
def call(path, body=None):
    head = {"authorization": "Bearer " + sys.argv[1], "content-type": "application/json",
            "x-bombyx-tier": "bare"}
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request("http://gateway:8080" + path, data, head)
    return json.load(urllib.request.urlopen(asked, timeout=60))
models = [one["id"] for one in call("/v1/models")["data"]]
if not models: sys.exit("no model is listed")
question = {"model": models[0], "max_tokens": 8, "messages": [{"role": "user", "content": "Hi"}]}
answer = call("/v1/chat/completions", question)["choices"][0]["message"]["content"]
print(json.dumps({"models": models, "answer": answer}))
"""


def start(command: list[str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command, stdout=sys.stderr)


def stop(process: "subprocess.Popen[bytes]") -> int:
    """SIGTERM to the service itself, as an engine sends it: unshare keeps the signal for itself."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="utf-8")
    for child in children.split():
        os.kill(int(child), signal.SIGTERM)
    return process.wait(timeout=60)


def until_done(command: list[str]) -> str:
    """Repeated as an engine repeats a health check, until it exits with 0."""
    deadline = time.monotonic() + HEALTHY_SECONDS
    while True:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)
        if done.returncode == 0:
            return done.stdout
        if time.monotonic() > deadline:
            raise SystemExit(done.stdout + done.stderr)
        time.sleep(0.2)


if __name__ == "__main__":
    known = {
        role: Image(stages(DOCKER / f"{role}.Dockerfile"), Path(place))
        for role, place in json.load(sys.stdin).items()
    }
    print(json.dumps(play(Path(sys.argv[1]), known)))  # noqa: T201 - for the test that started it
