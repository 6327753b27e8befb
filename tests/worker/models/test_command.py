"""`bombyx models` as an owner runs it: one document with --json, one sentence for each refusal."""

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bombyx.cli import output
from bombyx.cli.main import main
from bombyx.errors import SetupError
from bombyx.manifest import MANIFEST_FILE, manifest_digest
from tests.worker.models.folders import GGUF, files, write
from tests.worker.models.hub_server import REPOSITORY, REVISION, Hub, serving
from worker.models.manifests import build_manifest, read_manifest
from worker.models.pull import storing
from worker.models.store import at_hand, store_folder
from worker.settings import WorkerSettings


class Shell:
    """Runs commands on a store of its own."""

    def __init__(
        self, store: Path, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch
    ) -> None:
        self.store = store
        self._capsys = capsys
        self._patch = patch

    def __call__(self, *arguments: str, code: int = 0) -> Any:
        self._patch.setattr(output, "_stdout", output._Stdout())
        assert main(["models", *arguments, "--models", str(self.store), "--json"]) == code
        out = self._capsys.readouterr().out
        assert out.count("\n") == 1
        return json.loads(out)

    def text(self, *arguments: str) -> str:
        assert main(["models", *arguments, "--models", str(self.store)]) == 0
        return self._capsys.readouterr().out


@pytest.fixture
def shell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Shell:
    return Shell(tmp_path / "store", capsys, monkeypatch)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving(Hub(files())) as served:
        yield served


def test_a_model_is_pulled_listed_and_verified(shell: Shell, hub: Hub) -> None:
    pulled = shell("pull", REPOSITORY, "--revision", REVISION, "--hub", hub.url)
    digest = manifest_digest(build_manifest(Path(pulled["path"])))
    assert (pulled["digest"], pulled["format"]) == (digest, "safetensors")
    (listed,) = shell("list")["models"]
    assert (listed["revision"], listed["digest"]) == (REVISION, digest)
    name = listed["name"]
    assert shell("verify", name, "--digest", digest)["ok"] is True
    assert digest in shell.text("list")
    assert digest in shell.text("verify", name)
    (Path(pulled["path"]) / "extra.json").write_bytes(b"{}")
    refused = shell("verify", name, code=1)["error"]
    assert "extra.json: is not in the manifest" in refused["message"]


def test_the_hub_is_a_setting(shell: Shell, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOMBYX_WORKER_HUB", hub.url)
    monkeypatch.setenv("BOMBYX_WORKER_HUB_TOKEN", "t")
    hub.token = "t"
    shell("pull", REPOSITORY, "--revision", REVISION, "--name", "mine")
    assert shell("list")["models"][0]["name"] == "mine"


def test_a_branch_is_no_revision(shell: Shell) -> None:
    for revision in ((), ("--revision", "main")):
        refused = shell("pull", REPOSITORY, *revision, code=1)["error"]
        assert "never a branch" in refused["message"]


def test_a_manifest_names_a_file_a_folder_or_a_name(shell: Shell, tmp_path: Path) -> None:
    assert shell("manifest", str(GGUF))["digest"] == manifest_digest(build_manifest(GGUF))
    folder = write(tmp_path / "model", files())
    plain = shell("manifest", str(folder))
    assert [file["path"] for file in plain["manifest"]["files"]] == sorted(files())
    bound = shell(
        *("manifest", str(folder), "--engine", "sglang", "--engine-version", "0.5.23"),
        *("--flag", "--kv-cache-dtype=auto", "--write"),
    )
    assert bound["manifest"]["engine"] == {
        "name": "sglang",
        "version": "0.5.23",
        "flags": {"kv_cache_dtype": "auto"},
    }
    kept = read_manifest(folder / MANIFEST_FILE)
    assert kept is not None
    assert manifest_digest(kept) == bound["digest"] != plain["digest"]
    assert shell("manifest", str(folder))["digest"] == bound["digest"], "the kept one is meant"
    shell("pull", str(folder), "--name", "kept")
    assert shell("verify", "kept")["digest"] == bound["digest"]
    assert f"weights {bound['digest']}" in shell.text("manifest", "kept")


def test_verify_takes_a_manifest_or_a_digest_of_someone_else(shell: Shell, tmp_path: Path) -> None:
    folder = write(tmp_path / "model", files())
    digest = shell("manifest", str(folder))["digest"]
    assert shell("verify", str(folder), "--digest", digest)["ok"] is True
    other = shell("verify", str(folder), "--digest", "0" * 64, code=1)["error"]["message"]
    assert f"has weights {digest}, not {'0' * 64}" in other
    shell("manifest", str(folder), "--write")
    moved = (folder / MANIFEST_FILE).rename(tmp_path / "theirs.json")
    assert shell("verify", str(folder), "--manifest", str(moved))["digest"] == digest
    assert "no manifest" in shell("verify", str(folder), code=1)["error"]["message"]
    absent = str(tmp_path / "absent.json")
    refused = shell("verify", str(folder), "--manifest", absent, "--digest", digest, code=1)
    assert "no manifest" in refused["error"]["message"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("verify", "absent"), "there is no model absent"),
        (("verify", "../store"), "there is no model"),
        (("manifest", str(GGUF), "--write"), "name a folder"),
        (("manifest", str(GGUF), "--flag", "a=b"), "belong to an --engine"),
        (("manifest", str(GGUF), "--engine", "x", "--flag", "ab"), "NAME=VALUE"),
        (("manifest", str(GGUF), "--engine", "sg lang"), "cannot be bound so"),
        (("pull", "no-owner"), "a repository is OWNER/NAME"),
    ],
)
def test_wrong_use_has_its_sentence(
    shell: Shell, arguments: tuple[str, ...], sentence: str
) -> None:
    assert sentence in shell(*arguments, code=1)["error"]["message"]


def test_an_empty_store_and_a_model_that_is_refused_are_listed(shell: Shell) -> None:
    assert "no model in" in shell.text("list")
    write(shell.store / "bad", {"model.bin": b""})
    assert "bad: REFUSED: model.bin: is a pickle" in shell.text("list")
    assert shell("list")["models"][0]["problem"].startswith("model.bin: is a pickle")


def test_the_store_is_the_users_data_folder_unless_named(tmp_path: Path) -> None:
    assert store_folder(tmp_path) == tmp_path
    assert store_folder().name == "models"


def test_a_store_that_cannot_be_written_is_told(shell: Shell, tmp_path: Path) -> None:
    write(tmp_path / "model", files())
    (tmp_path / "file").write_text("")
    shell.store = tmp_path / "file"
    refused = shell("pull", str(tmp_path / "model"), code=1)
    assert refused["error"]["message"].startswith(f"the store fails at {tmp_path / 'file'}")


def test_a_disk_that_is_full_is_told(tmp_path: Path) -> None:
    full = r"the store fails at .*: No space left on device"
    with pytest.raises(SetupError, match=full), storing(tmp_path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_name_of_the_store_stands_for_its_model(shell: Shell, tmp_path: Path) -> None:
    write(tmp_path / "model", files())
    shell("pull", str(tmp_path / "model"), "--name", "kept")
    kept = WorkerSettings(models=shell.store, model_path=Path("kept"))
    assert at_hand(kept).model_path == shell.store / "kept"
    for named in ("absent", "../kept", str(tmp_path / "model")):
        asked = WorkerSettings(models=shell.store, model_path=Path(named))
        assert at_hand(asked) is asked
    assert at_hand(WorkerSettings()).model_path is None
