"""Keys of dstack's KMS and of SEV-SNP processors, from a fake agent and a fake device."""

import ctypes
import struct
from pathlib import Path

import pytest
from aiohttp import web

from bombyx.errors import SetupError
from tests.worker.attest.test_dstack import agent
from tests.worker.ledger.test_encryption import names
from worker.attest.confidential import DstackQuoter, TsmQuoter
from worker.attest.port import Quoter
from worker.attest.simulated import SimulatedQuoter
from worker.attest.vtpm import VtpmQuoter
from worker.ledger.journal import Journal
from worker.sealing import snp_key
from worker.sealing.choose import choose_sealing
from worker.sealing.dstack_key import DstackSealing
from worker.sealing.snp_key import GET_DERIVED_KEY, SnpSealing
from worker.settings import WorkerSettings

KEY = bytes(range(32))


async def test_dstack_is_asked_for_one_path_and_opens_the_journal_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    answer = {"key": KEY.hex(), "signature_chain": []}
    async with agent(lambda _: web.json_response(answer)) as one:
        for _ in range(2):
            journal = await Journal.open(path, DstackSealing(one.path))
            assert (journal.sealed_by, journal.rollback.verdict) == ("dstack", "unknown")
            await journal.close()
        asked = ("/GetKey", {"path": "bombyx/worker/journal", "purpose": "seal"})
        assert one.asked == [asked, asked]
    assert names(tmp_path) == {"journal.db"}, "no key lies on disk"


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda _: web.json_response({}), "answers GetKey without a key"),
        (lambda _: web.json_response({"key": 7}), "answers GetKey without a key"),
        (lambda _: web.json_response({"key": "zz"}), "answers GetKey without a key"),
        (lambda _: web.json_response({"key": "00" * 31}), "answers GetKey without a key"),
        (lambda _: web.json_response({}, status=500), "refuses GetKey with status 500"),
    ],
)
async def test_an_agent_without_a_key_is_told(
    tmp_path: Path, answer: object, sentence: str
) -> None:
    assert callable(answer)
    async with agent(answer) as one:
        with pytest.raises(SetupError, match=sentence):
            await DstackSealing(one.path).key(tmp_path / "journal.db")


class Processor:
    """What the kernel does with SNP_GET_DERIVED_KEY, by linux/sev-guest.h."""

    def __init__(self, status: int = 0, key: bytes = KEY) -> None:
        self.status, self.key = status, key
        self.asked: tuple[int, ...] = ()

    def __call__(self, descriptor: int, request: int, argument: bytearray) -> int:
        assert (request, len(argument)) == (GET_DERIVED_KEY, 32)
        version, asked, answer, _ = struct.unpack("<B7xQQQ", argument)
        assert version == 1
        self.asked = struct.unpack("<IIQIIQ", ctypes.string_at(asked, 32))
        data = struct.pack("<I28x", self.status) + self.key
        ctypes.memmove(answer, data, len(data))
        return 0


async def test_a_processor_mixes_image_and_policy_into_the_key(tmp_path: Path) -> None:
    device, processor = tmp_path / "sev-guest", Processor()
    device.touch()
    sealing = SnpSealing(device, ioctl=processor)
    found = await sealing.key(tmp_path / "journal.db")
    assert (found.key, found.by, found.counter) == (KEY, "sev-snp", None)
    root, _, mixed, vmpl, _, _ = processor.asked
    assert (root, mixed, vmpl) == (0, 0b1001, 0)


async def test_a_processor_that_refuses_is_told(tmp_path: Path) -> None:
    device = tmp_path / "sev-guest"
    with pytest.raises(SetupError, match="derives no key"):
        await SnpSealing(device, ioctl=Processor()).key(tmp_path / "journal.db")
    device.touch()
    for processor in (Processor(status=0x16), Processor(key=bytes(32))):
        with pytest.raises(SetupError, match="refuses a derived key with status"):
            await SnpSealing(device, ioctl=processor).key(tmp_path / "journal.db")
    with pytest.raises(SetupError, match="derives no key"):  # the real call, on no device
        await SnpSealing(device).key(tmp_path / "journal.db")


def _dstack(path: Path) -> Quoter:
    return DstackQuoter(path, source=None)  # type: ignore[arg-type]


def _snp(path: Path) -> Quoter:
    return TsmQuoter("sev_guest", root=path, source=None)  # type: ignore[arg-type]


def _tdx(path: Path) -> Quoter:
    return TsmQuoter("tdx_guest", root=path, source=None)  # type: ignore[arg-type]


def test_the_sealing_is_the_attested_machines(
    tmp_path: Path, quoter: SimulatedQuoter, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = WorkerSettings()

    def chosen(one: Quoter) -> str:
        return choose_sealing(settings, one).name

    device = tmp_path / "sev-guest"
    monkeypatch.setattr(snp_key, "DEVICE", device)
    assert chosen(_dstack(tmp_path)) == "dstack"
    assert chosen(VtpmQuoter(tmp_path)) == "vtpm"
    assert chosen(_snp(tmp_path)) == "file"
    assert "may not be used" in choose_sealing(settings, _snp(tmp_path)).promise
    device.touch()
    assert chosen(_snp(tmp_path)) == "sev-snp"
    for one in (_tdx(tmp_path), quoter):
        assert chosen(one) == "file"
        assert "gives no key" in choose_sealing(settings, one).promise
