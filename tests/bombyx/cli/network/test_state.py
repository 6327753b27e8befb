"""The network's folder: private files, one user at a time, the next free port."""

import socket
import stat
from pathlib import Path

import pytest

from bombyx.cli.network.plan import EngineKind, Wish
from bombyx.cli.network.ports import free_port
from bombyx.cli.network.state import (
    fresh_log,
    occupy,
    read_private,
    share_models,
    write_private,
)
from bombyx.errors import SetupError


def test_a_folder_has_one_network_at_a_time(tmp_path: Path) -> None:
    with occupy(tmp_path / "net") as state:
        assert stat.S_IMODE(state.folder.stat().st_mode) == 0o700
        with (
            pytest.raises(SetupError, match="another bombyx network is running") as caught,
            occupy(state.folder),
        ):
            pass
        assert "--state" in caught.value.__notes__[0]
    with occupy(tmp_path / "net"):
        pass


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match="cannot write to"), occupy(tmp_path / "file" / "net"):
        pass


def test_keys_are_private_and_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "api-key"
    assert read_private(file) is None
    for text in ("one\n", "two\n"):
        write_private(file, text)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert read_private(file) == text.strip()
    assert list(tmp_path.iterdir()) == [file]


def test_the_log_before_is_kept_beside_the_new_one(tmp_path: Path) -> None:
    with occupy(tmp_path) as state:
        fresh_log(state, "gateway").write_text("first")
        log = fresh_log(state, "gateway")
        assert log.read_text() == ""
        assert log.with_name("gateway.log.1").read_text() == "first"


def test_workers_share_one_copy_of_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with occupy(tmp_path / "net") as state:
        for number in (1, 2, 1):
            share_models(state, number)
        places = {(state.worker(number) / "models").resolve() for number in (1, 2)}
        assert places == {(tmp_path / "cache/bombyx/models").resolve()}


def test_without_a_cache_the_model_lies_in_the_network_s_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with occupy(tmp_path / "net") as state:
        share_models(state, 1)
        assert (state.worker(1) / "models").resolve() == (state.folder / "models").resolve()


def test_a_busy_port_gives_the_next_free_one() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port: int = busy.getsockname()[1]
        found = free_port(port)
        assert port < found <= port + 100
        assert free_port(found, taken=frozenset({found})) > found


def test_beyond_the_last_port_there_is_none() -> None:
    with pytest.raises(SetupError, match="name another"):
        free_port(65_535, taken=frozenset({65_535}))


def test_an_engine_elsewhere_needs_its_url() -> None:
    for wrong in (
        {"engine": EngineKind.OPENAI},
        {"engine": EngineKind.SCRIPTED, "engine_url": "http://127.0.0.1:1"},
    ):
        with pytest.raises(SetupError, match="belong together"):
            Wish(**wrong)
    with pytest.raises(SetupError, match="--workers"):
        Wish(workers=0)
