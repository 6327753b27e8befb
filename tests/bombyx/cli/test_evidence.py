"""`bombyx evidence verify`: exit codes, the document, the table, and no network."""

import json
from pathlib import Path
from typing import Any

import pytest

from bombyx.attestation.factors import Factor
from bombyx.cli.main import main
from tests.bombyx.attestation import tee

TDX = ["--kind", "tdx", "--evidence", str(tee.FOLDER / "tdx/cocoon_quote_v4.dat")]
WITH = ["--collateral", str(tee.FOLDER / "tdx/tdx_quote_outdated_collateral.json")]
AT = ["--now", str(tee.MARCH_2026)]
SNP = ["--kind", "snp", "--evidence", str(tee.FOLDER / "snp/milan_report.bin")]
GPU = ["--kind", "nvidia", "--evidence", str(tee.FOLDER / "nvidia/hopper_evidence.json")]
RIM = str(tee.FOLDER / "nvidia/rims/NV_GPU_DRIVER_GH100_550.144.03.xml")
CERTS = ["--certs", str(tee.FOLDER / "snp/milan_vcek.der")]
CHAIN = ["--certs", str(tee.FOLDER / "snp/ask_ark_milan.pem")]
JUNE = ["--now", str(tee.JUNE_2026)]


def run(*arguments: str) -> int:
    return main(["evidence", "verify", *arguments])


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


@pytest.fixture
def milan(tmp_path: Path) -> list[str]:
    path = tmp_path / "policy.toml"
    path.write_text('[snp]\ngenerations = ["milan"]\n', encoding="utf-8")
    return ["--policy", str(path)]


def test_accepted_evidence_exits_0_and_tells_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*TDX, *WITH, *AT, "--json") == 0
    document = told(capsys)
    assert set(document) == {"ok", "steps", "claims"}
    assert document["ok"] is True
    assert [step["name"] for step in document["steps"]] == [str(name) for name in Factor]
    assert {step["result"] for step in document["steps"]} == {"pass", "unknown"}
    assert document["claims"]["tcb_status"] == "UpToDate"


def test_refused_evidence_exits_1_with_its_code(
    capsys: pytest.CaptureFixture[str], milan: list[str]
) -> None:
    assert run(*SNP, *CERTS, *JUNE, "--json") == 1
    document = told(capsys)
    assert document["ok"] is False
    assert document["error"]["code"] == "platform_generation"
    assert run(*SNP, *CERTS, *CHAIN, *JUNE, *milan, "--json") == 0
    assert told(capsys)["claims"]["generation"] == "milan"
    assert run(*SNP, *JUNE, *milan, "--json") == 1
    assert told(capsys)["error"]["code"] == "evidence_chain"


def test_people_get_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*GPU, *JUNE) == 0
    shown = capsys.readouterr().out
    assert "nvidia evidence: accepted" in shown
    assert "ok   nvidia_signature" in shown
    assert run(*GPU, *JUNE, "--nonce", "00" * 32) == 1
    assert "REFUSED (evidence_nonce)" in capsys.readouterr().out


def test_a_reference_is_the_collateral_of_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*GPU, *JUNE, "--collateral", RIM, "--json") == 1
    assert told(capsys)["error"]["code"] == "collateral_mismatch"


@pytest.mark.parametrize(
    "wrong",
    [
        [*TDX, *WITH],
        ["--kind", "sgx", *TDX[2:], *AT],
        [*TDX[:2], "--evidence", "/no/such/file", *AT],
        [*TDX, *AT, "--collateral", "/no/such/file"],
        [*TDX, *AT, "--nonce", "xyz"],
        [*TDX, *AT, "--nonce", ""],
        [*TDX, *AT, "--nonce", "00" * 65],
        [*TDX, "--now", "-1"],
        [*TDX, "--now", "soon"],
    ],
)
def test_wrong_usage_exits_2(wrong: list[str]) -> None:
    assert run(*wrong) == 2


@pytest.mark.parametrize("text", [b"\xff", b"[", b"[snp]\ncolour = 1\n", b"version = 7\n"])
def test_a_policy_that_cannot_be_read_is_wrong_usage(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "policy.toml"
    path.write_bytes(text)
    assert run(*TDX, *WITH, *AT, "--policy", str(path)) == 2


def test_a_file_beyond_every_limit_is_refused_unread(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "endless"
    with path.open("wb") as file:
        file.truncate(2**33)
    assert run("--kind", "tdx", "--evidence", str(path), *AT, "--json") == 1
    assert told(capsys)["error"]["code"] == "evidence_too_large"
