"""`bombyx verify URL --gateway` (SPEC 17.11): the whole argument about a gateway, or why not."""

import json
from pathlib import Path

import pytest

from bombyx.attestation.policy import Policy, render_policy
from bombyx.attestation.ratls.steps import GatewayStep
from bombyx.cli import verify_gateway
from bombyx.cli.main import main
from bombyx.client import opening
from tests.bombyx.attestation.ratls.minting import GATEWAY, NOW, POLICY, gateway_table, policy
from tests.bombyx.client.ratls.serving import context_of, serving


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (opening, verify_gateway):
        monkeypatch.setattr(module, "unix_seconds", lambda: NOW)


def run(folder: Path, url: str, *flags: str, accepted: Policy = POLICY) -> int:
    file = folder / "policy.toml"
    file.write_text(render_policy(accepted), encoding="utf-8")
    return main(["verify", url, "--gateway", "--policy", str(file), *flags])


def test_each_step_is_listed_and_nothing_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(context_of()) as served:
        assert run(tmp_path, f"{served.url}/v1", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["gateway"], told["verified"]) == (GATEWAY, True)
    assert [step["name"] for step in told["steps"]] == [str(name) for name in GatewayStep]
    assert served.received == []


def test_a_refused_gateway_exits_1_with_the_step_and_its_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = policy(gateway_table(platforms=[]))
    with serving(context_of()) as served:
        assert run(tmp_path, served.url, "--json", accepted=nobody) == 1
        told = json.loads(capsys.readouterr().out.splitlines()[0])
        assert run(tmp_path, served.url, accepted=nobody) == 1
    failed = [step for step in told["steps"] if step["result"] == "fail"]
    assert [(step["name"], step["code"]) for step in failed] == [
        ("platform_allowed", "platform_not_allowed")
    ]
    assert "REFUSED" in capsys.readouterr().out


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "https://127.0.0.1:9"])
def test_without_tls_or_a_gateway_there_is_nothing_to_verify(tmp_path: Path, url: str) -> None:
    assert run(tmp_path, url) != 0
