"""`bombyx doctor`: each finding has its sentence, and what is wrong has a way out."""

from pathlib import Path

import pytest

from tests.worker.models.folders import GGUF, files, write
from worker.doctor.check import Check, failed, is_well, passed, unknown
from worker.doctor.hardware import (
    DSTACK,
    SEV_GUEST,
    TDX_GUEST,
    TSM,
    Found,
    check_confidential,
    check_devtools,
    check_driver,
    check_gpus,
    check_ready,
    check_tee,
    tee_devices,
)
from worker.doctor.machine import (
    GatewayAnswer,
    available_memory,
    check_disk,
    check_gateway,
    check_memory,
    check_python,
    check_time,
    free_disk,
)
from worker.doctor.software import check_engine, check_model
from worker.gpu.port import Confidential, Gpu, GpuStatus
from worker.models.manifests import build_manifest, write_manifest

GOOD = Confidential(environment=2, feature=True, devtools=False, multi_gpu=0, ready=True)
OFF = Confidential(environment=2, feature=False, devtools=False, multi_gpu=0, ready=True)
DEVTOOLS = Confidential(environment=2, feature=True, devtools=True, multi_gpu=0, ready=False)
GPU = Gpu(0, name="H100", memory_total=80 * 2**30, temperature=40)
GONE = Found(None, "no NVIDIA driver is installed")
URL = "https://gateway.example"


def found(state: Confidential | None = GOOD, *gpus: Gpu, driver: str | None = "590.12") -> Found:
    return Found(GpuStatus(driver, state, gpus or (GPU,)))


@pytest.mark.parametrize(
    ("check", "result", "words"),
    [
        (check_python((3, 11, 7)), "pass", "Python 3.11.7"),
        (check_python((3, 10, 0)), "fail", "Python 3.10.0 is too old"),
        (check_disk(2**40, Path("/x")), "pass", "1024 GiB free at /x"),
        (check_disk(2**30, Path("/x")), "fail", "only 1 GiB free at /x"),
        (check_memory(2**34), "pass", "16 GiB of memory available"),
        (check_memory(2**30), "fail", "only 1 GiB of memory"),
        (check_memory(None), "unknown", "does not tell"),
        (check_gateway(None), "unknown", "no gateway was named"),
        (check_gateway(GatewayAnswer(URL, 1.0, 200)), "pass", "answers and is ready"),
        (check_gateway(GatewayAnswer(URL, 1.0, 503)), "fail", "is not ready (503)"),
        (check_gateway(GatewayAnswer(URL, refusal="ConnectError")), "fail", "(ConnectError)"),
        (check_time(None, 0), "unknown", "no gateway told the time"),
        (check_time(GatewayAnswer(URL, None, 200), 0), "unknown", "no gateway told the time"),
        (check_time(GatewayAnswer(URL, 1000.0, 200), 1059), "pass", "agrees"),
        (check_time(GatewayAnswer(URL, 1000.0, 200), 1061), "fail", "61 s ahead of"),
        (check_time(GatewayAnswer(URL, 1000.0, 200), 400), "fail", "600 s behind"),
        (check_engine("scripted"), "pass", "needs nothing installed"),
        (check_engine("llamacpp"), "pass", "is installed"),
        (check_engine("auto"), "pass", "llamacpp"),
        (check_engine("auto", model=GGUF), "pass", "llamacpp"),
        (check_engine("vllm"), "fail", "vllm is not installed"),
        (check_model(None), "unknown", "no model was named"),
        (check_model(GGUF), "pass", "it has no manifest beside it: weights "),
        (check_model(Path("/absent")), "fail", "there is no model at /absent"),
        (check_driver(found(), required=True), "pass", "NVIDIA driver 590.12"),
        (check_driver(found(driver=None), required=True), "pass", "of unknown version"),
        (check_driver(GONE, required=True), "fail", "no NVIDIA driver is installed"),
        (check_driver(GONE, required=False), "unknown", "no NVIDIA driver is installed"),
        (check_gpus(GONE, required=True), "unknown", "without a driver"),
        (check_gpus(found(), required=True), "pass", "GPU 0: H100, 80 GiB"),
        (check_gpus(Found(GpuStatus("1", GOOD, ())), required=True), "fail", "sees no GPU"),
        (check_gpus(found(GOOD, Gpu(3, xid=79)), required=True), "fail", "error XID 79"),
        (check_gpus(found(GOOD, Gpu(0, ecc_uncorrected=2)), required=True), "fail", "2 memory"),
        (check_gpus(found(GOOD, Gpu(0, temperature=95)), required=True), "fail", "95 °C"),
        (check_confidential(found(), required=True), "pass", "is on"),
        (check_confidential(found(OFF), required=True), "fail", "computing is off"),
        (check_confidential(found(OFF), required=False), "unknown", "computing is off"),
        (check_confidential(found(None), required=True), "fail", "does not know"),
        (check_confidential(GONE, required=True), "unknown", "without a driver"),
        (check_devtools(found(), required=True), "pass", "devtools mode is off"),
        (check_devtools(found(DEVTOOLS), required=True), "fail", "devtools mode is on"),
        (check_ready(found()), "pass", "take work"),
        (check_ready(found(DEVTOOLS)), "fail", "refuse work"),
        (check_ready(found(OFF)), "unknown", "only confidential GPUs"),
        (check_ready(GONE), "unknown", "only confidential GPUs"),
        (check_tee(frozenset({TSM, TDX_GUEST}), required=True), "pass", "(TDX)"),
        (check_tee(frozenset({TSM, SEV_GUEST}), required=True), "pass", "(SEV-SNP)"),
        (check_tee(frozenset({TSM}), required=True), "pass", "unknown kind"),
        (check_tee(frozenset({DSTACK}), required=True), "pass", "a dstack agent"),
        (check_tee(frozenset({TDX_GUEST}), required=True), "fail", "configfs-tsm is not"),
        (check_tee(frozenset(), required=True), "fail", "no confidential virtual machine"),
        (check_tee(frozenset(), required=False), "unknown", "no confidential virtual machine"),
    ],
)  # fmt: skip
def test_each_finding_has_its_sentence(check: Check, result: str, words: str) -> None:
    assert (check.result, words in check.detail) == (result, True), check
    assert bool(check.fix) or check.result != "fail"
    assert check.document()["result"] == result


def test_a_required_check_that_could_not_be_made_is_not_well() -> None:
    fine = passed("a", "")
    assert is_well([fine, unknown("b", ""), failed("c", "", fix="", required=False)])
    assert not is_well([fine, unknown("b", "", required=True)])
    assert not is_well([fine, failed("b", "", fix="")])


def test_an_altered_model_is_found(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", files())
    write_manifest(folder, build_manifest(folder))
    assert "is what its manifest says" in check_model(folder).detail
    (folder / "config.json").write_bytes(b"{}")
    check = check_model(folder)
    assert (check.result, "config.json: has 2 bytes" in check.detail) == ("fail", True)


def test_an_engine_in_an_environment_of_its_own_is_asked_there(tmp_path: Path) -> None:
    python = tmp_path / "python"
    assert check_engine("sglang", python=python).result == "fail"
    python.write_text("#!/bin/sh\necho 0.5.23\n")
    python.chmod(0o755)
    assert check_engine("sglang", python=python).detail == "sglang 0.5.23 is installed"
    folder = write(tmp_path / "model", files())
    assert check_engine("auto", model=folder, python=python).result == "pass"
    assert check_engine("auto", model=folder).detail == "sglang or vllm is not installed"


def test_what_is_measured_is_this_machines(tmp_path: Path) -> None:
    free, place = free_disk(tmp_path / "a" / "b")
    assert (free > 0, place) == (True, tmp_path)
    assert (available_memory() or 0) > 0
    assert available_memory(tmp_path / "absent") is None
    (tmp_path / "meminfo").write_text("MemTotal: 1 kB\nMemAvailable: 2 kB\n")
    assert available_memory(tmp_path / "meminfo") == 2048
    (tmp_path / "meminfo").write_text("MemTotal: 1 kB\n")
    assert available_memory(tmp_path / "meminfo") is None
    assert tee_devices(tmp_path) == frozenset()
    write(tmp_path, {"dev/tdx_guest": b""})
    assert tee_devices(tmp_path) == {TDX_GUEST}


@pytest.mark.parametrize(
    ("cause", "fix"),
    [
        ("no NVIDIA driver is installed: libnvidia-ml is missing", "install NVIDIA's"),
        ("the NVIDIA driver is installed and not loaded", "modprobe nvidia"),
        ("this user may not talk to the NVIDIA driver", "/dev/nvidiactl"),
        ("the NVIDIA driver and its library have different versions", "restart"),
        ("NVML says 999", "install NVIDIA's"),
    ],
)
def test_a_driver_that_does_not_answer_is_mended_by_its_cause(cause: str, fix: str) -> None:
    assert fix in check_driver(Found(None, cause), required=True).fix
    assert fix in check_driver(Found(None, cause), required=False).fix
