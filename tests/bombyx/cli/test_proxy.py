"""`bombyx proxy` as people and programs start it: one ready line, a private token, a clean end."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from bombyx.attestation.policy import render_policy
from bombyx.cli.main import main
from tests.bombyx.client.peer import policy

GATEWAY = "http://127.0.0.1:9/v1/"


@pytest.fixture
def policy_file(tmp_path: Path) -> str:
    path = tmp_path / "policy.toml"
    path.write_text(render_policy(policy()), encoding="utf-8")
    return str(path)


@contextmanager
def proxy(state: Path, *arguments: str) -> Iterator[tuple[dict[str, Any], Any]]:
    command = [sys.executable, "-m", "bombyx.cli", "proxy", "--json", "--state", str(state)]
    code = "import sys; from bombyx.cli.main import run; sys.argv[0] = 'bombyx'; run()"
    command = [sys.executable, "-c", code, *command[3:], *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=state
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, process.stderr.read() if process.stderr else ""
            yield json.loads(line), process
        finally:
            process.kill()


def test_it_says_where_it_listens_and_serves_holders_of_its_token(
    tmp_path: Path, policy_file: str
) -> None:
    key = tmp_path / "key"
    key.write_text("sk-1\n")
    flags = ("--gateway", GATEWAY, "--policy", policy_file, "--port", "0")
    with proxy(tmp_path, *flags, "--api-key-file", str(key)) as (ready, process):
        token = Path(ready["token_file"])
        assert token.parent == tmp_path
        assert stat.S_IMODE(token.stat().st_mode) == 0o600
        assert ready["gateway"] == "http://127.0.0.1:9"
        headers = {"authorization": f"Bearer {token.read_text().strip()}"}
        with httpx2.Client(headers=headers) as client:
            down = client.get(f"{ready['url']}/models")
            assert down.json()["error"]["code"] == "gateway_unreachable"
            assert client.get(f"{ready['url']}/models", headers={"authorization": ""}).is_error
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        out, err = process.communicate()
        assert (out, "Traceback" in err) == ("", False)


def test_what_its_user_gives_up_is_said_on_stderr(tmp_path: Path, policy_file: str) -> None:
    kept = tmp_path / "kept"
    flags = ["--gateway", GATEWAY, "--policy", policy_file, "--port", "0"]
    with proxy(tmp_path, *flags, "--padding", "exact", "--save-transcripts", str(kept)) as (_, one):
        one.send_signal(signal.SIGINT)
        out, err = one.communicate(timeout=10)
    assert out == ""
    assert err.count("length of every token") == 1
    assert err.count(f"in clear in {kept}") == 1
    with proxy(tmp_path, *flags) as (_, one):
        one.send_signal(signal.SIGINT)
        assert "clear" not in one.communicate(timeout=10)[1]


def test_the_next_port_is_taken_when_one_is_busy(tmp_path: Path, policy_file: str) -> None:
    flags = ("--gateway", GATEWAY, "--policy", policy_file)
    with proxy(tmp_path, *flags, "--port", "0") as (first, _):
        port = str(httpx2.URL(first["url"]).port)
        with proxy(tmp_path, *flags, "--port", port) as (second, _):
            assert (httpx2.URL(second["url"]).port or 0) > int(port)
            assert second["token_file"] == first["token_file"]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ([], "name the gateway"),
        (["--gateway", GATEWAY], "needs a policy"),
        (["--gateway", "ftp://x"], "gateway"),
        (["--api-key", "a", "--api-key-file", "b"], "keep one"),
        (["--api-key-file", "/nonexistent/key"], "cannot be read"),
        (["--api-key-file", os.devnull], "holds no API key"),
    ],
)
def test_what_is_missing_is_said_in_a_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("BOMBYX_CLIENT_POLICY", raising=False)
    assert main(["proxy", "--state", str(tmp_path), *flags]) == 1
    assert sentence in capsys.readouterr().err


def test_a_token_that_cannot_be_written_is_said(
    tmp_path: Path, policy_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    flags = ["--gateway", GATEWAY, "--policy", policy_file, "--state", str(tmp_path)]
    token = str(tmp_path / "file" / "token")
    assert main(["proxy", *flags, "--token-file", token]) == 1
    assert "token" in capsys.readouterr().err
