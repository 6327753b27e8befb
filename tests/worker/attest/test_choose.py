"""Which hardware a worker uses, and the sentence that says why."""

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bombyx.attestation.evidence import GpuEvidence
from bombyx.errors import SetupError
from tests.worker.attest.fake_tsm import FakeTsm, running
from tests.worker.attest.software_tpm import needs_swtpm, software_tpm
from worker.attest.choose import Machine, choose_machine
from worker.settings import WorkerSettings

NOW = 1_800_000_000


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path, as unix sockets want it."""
    with tempfile.TemporaryDirectory(prefix="ch") as name:
        yield Path(name)


def choose(folder: Path, **changes: object) -> Machine:
    places = {
        "tsm_path": folder / "report",
        "dstack_socket": folder / "dstack.sock",
        "tpm_device": folder / "tpm",
    }
    settings = WorkerSettings.model_validate({**places, **changes})
    return choose_machine(settings, folder, clock=lambda: NOW)


def tee(folder: Path, provider: str) -> FakeTsm:
    (folder / "report").mkdir()
    return FakeTsm(folder / "report", provider, lambda data: (data, b""))


@pytest.fixture
def agent(folder: Path) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(folder / "dstack.sock"))
        one.listen()
        yield


def test_without_a_tee_evidence_is_simulated_and_the_reason_told(folder: Path) -> None:
    machine = choose(folder)
    assert machine.quoter.platform == "simulated"
    for part in ("no configfs-tsm at", "no dstack agent at", "protects nothing"):
        assert part in machine.reason
    assert (folder / "simulated-root.pem").exists()


async def test_a_simulated_machine_tells_image_and_root(folder: Path) -> None:
    told = await choose(folder, platform="simulated").measured()
    assert {name: len(value) for name, value in told.items()} == {"mr_td": 96, "root": 64}


@pytest.mark.parametrize(("provider", "platform"), [("tdx_guest", "tdx"), ("sev_guest", "sev-snp")])
def test_the_kernels_driver_names_the_platform(folder: Path, provider: str, platform: str) -> None:
    with running(tee(folder, provider)):
        machine = choose(folder)
        assert machine.quoter.platform == platform
        assert machine.reason.endswith(f"is driven by {provider}")
        assert choose(folder, platform=platform).quoter.platform == platform


@pytest.mark.usefixtures("agent")
def test_a_dstack_agent_is_used_where_the_kernel_offers_nothing(folder: Path) -> None:
    machine = choose(folder)
    assert (machine.quoter.platform, "dstack agent listens" in machine.reason) == ("tdx", True)


@pytest.mark.usefixtures("agent")
def test_the_kernel_comes_before_an_agent(folder: Path) -> None:
    with running(tee(folder, "tdx_guest")):
        assert "configfs-tsm" in choose(folder).reason


def test_a_driver_that_nobody_knows_is_no_tee(folder: Path) -> None:
    with running(tee(folder, "arm_cca_guest")):
        machine = choose(folder)
    assert machine.quoter.platform == "simulated"
    assert "'arm_cca_guest', which is not known" in machine.reason


def test_a_simulated_root_that_is_named_is_used_even_on_a_tee(folder: Path) -> None:
    with running(tee(folder, "tdx_guest")):
        machine = choose(folder, simulated_root=folder / "root.pem")
        assert machine.quoter.platform == "simulated"
        assert (folder / "root.pem").exists()
        named = choose(folder, simulated_root=folder / "root.pem", platform="tdx")
        assert named.quoter.platform == "tdx"


@pytest.mark.parametrize("platform", ["tdx", "sev-snp", "vtpm"])
def test_what_is_named_and_not_there_refuses_to_start(folder: Path, platform: str) -> None:
    with pytest.raises(SetupError, match=f"platform {platform} was asked for.*does not offer it"):
        choose(folder, platform=platform)


def test_another_tee_than_the_named_one_refuses_to_start(folder: Path) -> None:
    with (
        running(tee(folder, "sev_guest")),
        pytest.raises(SetupError, match=r"platform tdx was asked for.*: it is sev-snp"),
    ):
        choose(folder, platform="tdx")


@needs_swtpm
def test_a_tpm_is_used_only_when_it_is_named(folder: Path) -> None:
    with software_tpm() as tpm:
        assert choose(folder, tpm_device=tpm.path).quoter.platform == "simulated"
        machine = choose(folder, tpm_device=tpm.path, platform="vtpm")
    assert machine.quoter.platform == "vtpm"
    assert "made of software" in machine.reason
    assert "keeps nothing confidential" in machine.reason


async def test_every_real_quoter_asks_the_machines_gpus(folder: Path) -> None:
    seen = []

    async def gpus(digest: bytes) -> list[GpuEvidence]:
        seen.append(digest)
        return []

    settings = WorkerSettings(tsm_path=folder / "report", tpm_device=folder / "tpm")
    with running(tee(folder, "tdx_guest")):
        machine = choose_machine(settings, folder, clock=lambda: NOW, gpus=gpus)
        assert await machine.quoter.gpus(b"d") == []
    assert seen == [b"d"]


def test_a_file_of_collateral_that_is_none_refuses_to_start(folder: Path) -> None:
    (folder / "file").write_text("{}")
    with (
        running(tee(folder, "tdx_guest")),
        pytest.raises(SetupError, match="is no file of collateral"),
    ):
        choose(folder, collateral=folder / "file")
