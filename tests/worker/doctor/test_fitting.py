"""Whether a model fits: told with the flags that would fit it, and never a reason to fail."""

import json
from pathlib import Path

import pytest

from tests.worker.doctor.test_checks import GONE, OFF, found
from worker.doctor.check import is_well
from worker.doctor.fitting import check_fit
from worker.gpu.port import Gpu

GIB = 2**30
CONFIG = {
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "hidden_size": 4096,
    "max_position_embeddings": 8192,
}
TWO = (Gpu(0, memory_total=80 * GIB), Gpu(1, memory_total=80 * GIB))


def model(folder: Path, config: object = CONFIG, *, gib: int = 16) -> Path:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(gib * GIB)  # sparse: no byte of it is written
    return folder


def test_the_flags_are_for_the_group_that_will_serve(tmp_path: Path) -> None:
    folder = model(tmp_path)
    alone = check_fit(found(OFF, *TWO), folder, gpus="1", context=None)
    both = check_fit(found(OFF, *TWO), folder, gpus="", context=4096)
    assert (alone.result, both.result) == ("pass", "pass")
    assert "--tp-size 1 --mem-fraction-static 0.9" in alone.detail
    assert "--tp-size 2 --mem-fraction-static 0.9" in both.detail


@pytest.mark.parametrize(
    ("config", "gib", "gpus", "words"),
    [
        (CONFIG, 100, "0", "100 GiB of weights"),
        (CONFIG, 16, "0-3", "only 2 are here"),
        ({**CONFIG, "num_attention_heads": 33}, 16, "", "cannot be split over 2"),
        ([], 16, "", "no JSON object"),
        ({}, 16, "", "does not tell"),
    ],
)
def test_what_does_not_fit_is_told_and_fails_nothing(
    tmp_path: Path, config: object, gib: int, gpus: str, words: str
) -> None:
    folder = model(tmp_path, config, gib=gib)
    check = check_fit(found(OFF, *TWO), folder, gpus=gpus, context=None)
    assert check.result == "fail"
    assert words in check.detail
    assert check.fix
    assert is_well([check])


def test_a_config_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    model(tmp_path)
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    assert "cannot be read" in check_fit(found(), tmp_path, gpus="", context=None).detail


def test_without_gpus_or_a_folder_nobody_can_tell(tmp_path: Path) -> None:
    for where, folder in ((GONE, model(tmp_path)), (found(), None), (found(), tmp_path / "x")):
        assert check_fit(where, folder, gpus="", context=None).result == "unknown"
