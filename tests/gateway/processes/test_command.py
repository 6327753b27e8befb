"""What several processes refuse to be, and the rules of the proxy in front of them."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from bombyx.cli import output
from bombyx.cli.main import main

LINK_URL = "wss://gateway.example/v1/workers/link/{slot}"
FRONT = ("--processes", "2", "--slot", "4", "--link-port", "9000", "--link-url", LINK_URL)
SNAPSHOTS = Path(__file__).parent / "snapshots"


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(output._stdout, "answered", False)
    yield
    structlog.reset_defaults()  # the command logs to the stderr that this test has now


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    output._stdout.answered = False
    main([*arguments, "--json"])
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    error = said(capsys, "gateway", *arguments)["error"]
    assert isinstance(error, dict)
    assert error["code"] == "setup_error"
    return str(error["message"])


def test_several_processes_on_sqlite_are_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--state", str(tmp_path))
    assert "PostgreSQL" in refusal(capsys, "--processes", "2", *where)
    url = f"sqlite:///{tmp_path}/x.db"
    assert "PostgreSQL" in refusal(capsys, "--processes", "2", "--database-url", url, *where)
    assert not list(tmp_path.glob("*.db"))


def test_several_processes_with_one_link_url_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refusal(
        capsys, "--processes", "2", "--state", str(tmp_path),
        "--database-url", "postgresql://nowhere/x", "--link-url", "wss://gateway.example/0",
    )  # fmt: skip
    assert "{slot}" in message


@pytest.mark.parametrize("kind", ["caddy", "nginx"])
def test_the_rules_of_a_proxy_are_these(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    rules = said(capsys, "gateway", "proxy-config", kind, *FRONT)["rules"]
    assert rules == (SNAPSHOTS / f"{kind}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["caddy", "nginx"])
def test_each_slot_s_path_leads_to_its_port_and_all_else_to_the_public_one(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = str(said(capsys, "gateway", "proxy-config", kind, *FRONT)["rules"])
    assert rules.count("{") == rules.count("}")
    led = led_by_nginx(rules) if kind == "nginx" else led_by_caddy(rules)
    assert led == {
        "/v1/workers/link/4": "127.0.0.1:9000",
        "/v1/workers/link/5": "127.0.0.1:9001",
        "/": "127.0.0.1:8080",
    }


@pytest.mark.parametrize(("host", "shown"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]")])
def test_a_proxy_beside_a_gateway_that_listens_everywhere_asks_it_nearby(
    host: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = said(capsys, "gateway", "proxy-config", "nginx", *FRONT, "--host", host)["rules"]
    assert led_by_nginx(str(rules))["/"] == f"{shown}:8080"


def led_by_nginx(rules: str) -> dict[str, str]:
    blocks = re.findall(r"location ([=^~]* ?)(\S+) \{\s+proxy_pass http://(\S+);\s+\}", rules)
    exact = {path: to for kind, path, to in blocks if kind == "= "}
    below = {path.rstrip("/"): to for kind, path, to in blocks if kind == "^~ "}
    assert exact == below
    return {**exact, **{path: to for kind, path, to in blocks if not kind}}


def led_by_caddy(rules: str) -> dict[str, str]:
    named = dict(re.findall(r"(@\w+) path (\S+) ", rules))
    assert all(f"path {path} {path}/*" in rules for path in named.values())
    handles = re.findall(r"handle (@\w+ )?\{\s+reverse_proxy (\S+) ", rules)
    return {named.get(name.strip(), "/"): to for name, to in handles}


def test_nginx_itself_takes_its_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nginx = shutil.which("nginx")
    if nginx is None:
        pytest.skip("there is no nginx")
    rules = str(said(capsys, "gateway", "proxy-config", "nginx", *FRONT)["rules"])
    plain = rules.replace("listen 443 ssl", "listen 127.0.0.1:8999")
    config = tmp_path / "nginx.conf"
    config.write_text(f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{\n{plain}}}\n")
    subprocess.run([nginx, "-t", "-c", str(config), "-p", str(tmp_path)], check=True)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        (("--link-url", ""), "link_url"),
        (("--link-port", "0"), "link_port"),
        (("--port", "0"), "port"),
    ],
)
def test_what_no_proxy_can_stand_before_is_refused(
    changes: tuple[str, str], wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert wanted in refusal(capsys, "proxy-config", "caddy", *FRONT, *changes)
