"""Which engine `auto` is, and why (docs/engines.md)."""

import sys
from pathlib import Path

import pytest
import structlog

from bombyx.errors import SetupError
from worker import engines
from worker.engine.choice import Choice, Machine, choose
from worker.engine.llamacpp import LlamaCppEngine
from worker.engine.server.installed import count_gpus, installed_version
from worker.engine.supervised import SupervisedEngine
from worker.engines import build_engine
from worker.settings import WorkerSettings

BOTH = (("sglang", "0.5.23"), ("vllm", "0.32.0"))
MODEL = Path(__file__).parents[2] / "fixtures" / "tiny-llama"


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (Machine(has_folder=False, gpus=8, servers=BOTH), ("llamacpp", "no folder")),
        (Machine(has_folder=True, gpus=8, servers=BOTH), ("sglang", "8 GPUs are here")),
        (Machine(has_folder=True, gpus=1, servers=BOTH[1:]), ("vllm", "1 GPU is here")),
        (Machine(has_folder=True, may_use_cpu=True, servers=BOTH), ("sglang", "the CPU will do")),
    ],
)
def test_the_choice_follows_the_model_and_the_machine(
    machine: Machine, expected: tuple[str, str]
) -> None:
    choice = choose("auto", machine)
    assert choice.engine == expected[0]
    assert expected[1] in choice.reason


def test_a_named_engine_is_taken() -> None:
    assert choose("vllm", Machine(has_folder=False)) == Choice("vllm", "as the settings say")


@pytest.mark.parametrize(
    ("machine", "advice"),
    [
        (Machine(has_folder=True, servers=BOTH), "GGUF"),
        (Machine(has_folder=True, gpus=1), "--engine-python"),
    ],
)
def test_a_machine_that_cannot_serve_a_model_says_what_would(machine: Machine, advice: str) -> None:
    with pytest.raises(SetupError, match=advice):
        choose("auto", machine)


def build(tmp_path: Path, **changes: object) -> object:
    settings = WorkerSettings.model_validate(changes)
    return build_engine(settings, state=tmp_path, say=lambda _: None)


def test_settings_become_an_engine_and_the_log_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "count_gpus", lambda: 1)
    monkeypatch.setattr(engines, "installed_version", lambda *_: "1.0")
    with structlog.testing.capture_logs() as logs:
        made = build(tmp_path, model_path=MODEL / "hf", engine_flags=("--tp-size=2",))
    assert isinstance(made, SupervisedEngine)
    assert made.name == "sglang"
    assert logs[0]["reason"] == "1 GPU is here, and sglang 1.0 is installed"
    named = build(tmp_path, engine="vllm", model_path=MODEL / "hf")
    assert isinstance(named, SupervisedEngine)
    assert named.name == "vllm"
    assert isinstance(build(tmp_path, model_path=MODEL / "tiny-f16.gguf"), LlamaCppEngine)


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"engine": "sglang"}, "--model-path"),
        ({"engine": "sglang", "engine_flags": ("--log-requests",), "model_path": "."}, "may not"),
        ({"engine": "llamacpp", "model_path": str(MODEL / "hf")}, "0 GGUF files"),
    ],
)
def test_mistakes_are_told_before_anything_starts(
    changes: dict[str, object], advice: str, tmp_path: Path
) -> None:
    with pytest.raises(SetupError, match=advice):
        build(tmp_path, **changes)


def test_a_folder_with_one_gguf_is_llamacpps(tmp_path: Path) -> None:
    (tmp_path / "one.gguf").symlink_to(MODEL / "tiny-f16.gguf")
    assert isinstance(build(tmp_path, model_path=tmp_path), LlamaCppEngine)


def test_what_is_installed_is_asked_of_the_environment_itself(tmp_path: Path) -> None:
    here = Path(sys.executable)
    link = tmp_path / "python"
    link.symlink_to(here)
    assert installed_version(here, "aiohttp") is not None
    assert installed_version(here, "no-such-package") is None
    assert installed_version(link, "no-such-package") is None
    assert installed_version(tmp_path / "missing", "aiohttp") is None


def test_a_machine_without_a_driver_has_no_gpus() -> None:
    assert count_gpus() >= 0
