"""`bombyx policy`: presets wherever a file may be, and what a policy comes to in sentences."""

import json
from pathlib import Path

import pytest

from bombyx.attestation.policy import PRESETS, policy_hash, preset
from bombyx.cli import output
from bombyx.cli.main import main
from bombyx.client.opening import open_session, read_policy
from bombyx.errors import PolicyError
from gateway.serve import read_policy as read_gateway_policy


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOMBYX_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("BOMBYX_CLIENT_POLICY", raising=False)
    monkeypatch.setattr(output, "_stdout", output._Stdout())


@pytest.mark.spec("17.3-b")
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_explained_and_shown_with_its_hash(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["policy", "explain", "--policy", name, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told) == ["hash", "network", "passes", "refused", "unknown"]
    assert told["hash"] == policy_hash(preset(name))
    assert main(["policy", "explain", "--policy", name]) == 0
    shown = capsys.readouterr().out
    for part in (told["hash"], "Passes:", "Is refused:", "Stays unknown:", *told["refused"]):
        assert part in shown
    assert main(["policy", "show", name]) == 0
    assert told["hash"] in capsys.readouterr().out


def test_without_a_policy_there_is_nothing_to_explain(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "explain"]) == 1
    assert "needs a policy" in capsys.readouterr().err


def test_the_settings_policy_is_explained_where_none_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BOMBYX_CLIENT_POLICY", "hardware")
    assert main(["policy", "explain", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["hash"] == policy_hash(preset("hardware"))


@pytest.mark.spec("17.3-b")
def test_client_and_gateway_take_a_presets_name(tmp_path: Path) -> None:
    strict = preset("hardware-strict")
    assert read_policy(Path("hardware-strict")) == strict
    assert read_gateway_policy(Path("hardware-strict")) == strict
    # A file of that name does not take the preset's place.
    (tmp_path / "hardware-strict").write_text("version = 1", encoding="utf-8")
    assert read_policy(Path("hardware-strict")) == strict
    assert open_session("hardware", state=tmp_path / "state") is not None
    with pytest.raises(PolicyError, match="cannot be read"):
        read_policy(Path("hardware-soft"))


def test_raw_evidence_is_judged_by_a_preset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.bombyx.attestation import tee  # noqa: PLC0415

    args = ["evidence", "verify", "--kind", "snp", "--json", "--now", str(tee.JUNE_2026),
            "--evidence", str(tee.FOLDER / "snp/milan_report.bin"),
            "--certs", str(tee.FOLDER / "snp/milan_vcek.der")]  # fmt: skip
    for policy, code in (("development", 0), ("hardware", 1)):
        output._stdout.answered = False
        assert main([*args, "--policy", policy]) == code
        assert json.loads(capsys.readouterr().out)["ok"] is (code == 0)
    file = tmp_path / "p.toml"
    file.write_text('preset = "development"\n', encoding="utf-8")
    assert main([*args, "--policy", str(file)]) == 0
    capsys.readouterr()
    assert main([*args, "--policy", str(tmp_path / "none")]) == 2
