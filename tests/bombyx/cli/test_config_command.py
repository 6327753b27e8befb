"""`bombyx config show`: every setting, its origin, and never a secret."""

import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from bombyx.cli import config_command, output
from bombyx.cli.main import main
from bombyx.settings import RoleSettings
from tests.bombyx.cli.distribution import declare


class Gateway(RoleSettings):
    """A role with something to hide."""

    port: int = 8080
    peers: tuple[str, ...] = ("[a]",)
    database_url: str = "sqlite:///x"
    admin_key: SecretStr | None = None


@pytest.fixture(autouse=True)
def _one_role(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = {"gateway": f"{__name__}:Gateway", "worker": "absent.settings:WorkerSettings"}
    monkeypatch.setattr(config_command, "GROUP", declare(tmp_path / "dist", points))
    monkeypatch.syspath_prepend(tmp_path / "dist")
    monkeypatch.setattr(output, "_stdout", output._Stdout())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("BOMBYX_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("BOMBYX_GATEWAY_ADMIN_KEY", "s3cret")
    monkeypatch.setenv("BOMBYX_GATEWAY_DATABASE_URL", "postgresql://me:s3cret@db/x")


def shown(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    assert main(["config", "show", *flags]) == 0
    return capsys.readouterr().out


def test_secrets_and_passwords_in_urls_are_never_shown(capsys: pytest.CaptureFixture[str]) -> None:
    for flags in ((), ("--origin",), ("--json",), ("--json", "--origin")):
        text = shown(capsys, *flags)
        assert "s3cret" not in text
        assert "postgresql://me:**********@db/x" in text


def test_the_listing_reads_like_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "--origin").splitlines()
    assert "[gateway]" in lines
    assert "port = 8080  # default" in lines
    assert 'peers = ["[a]"]  # default' in lines
    assert 'admin_key = "**********"  # environment BOMBYX_GATEWAY_ADMIN_KEY' in lines


def test_json_tells_value_origin_and_place(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "bombyx.toml").write_text("[gateway]\nport = 9\n")
    document = json.loads(shown(capsys, "--json", "--origin"))
    assert document["file"] == "bombyx.toml"
    assert document["state"] == str(tmp_path / "state")
    assert document["settings"]["gateway"]["port"] == {
        "value": 9,
        "origin": "file",
        "where": "bombyx.toml",
    }
    assert list(document["settings"]) == ["gateway"]


def test_an_unknown_key_refuses_with_the_near_miss(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "bombyx.toml").write_text("[gateway]\nprot = 9\n")
    assert main(["config", "show"]) == 1
    assert 'did you mean "port"?' in capsys.readouterr().err
