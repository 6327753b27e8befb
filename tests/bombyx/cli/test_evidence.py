"""`bombyx evidence verify`: exit codes, the document, the table, and no network."""

import json
from pathlib import Path
from typing import Any

import pytest

from bombyx import canonical
from bombyx.attestation.cocoon import model_hash
from bombyx.attestation.factors import Factor
from bombyx.attestation.tokens.trust_authority import TRUST_AUTHORITY
from bombyx.attestation.vendor import VendorFile
from bombyx.attestation.verity import BLOCK_BYTES, verity_root
from bombyx.cli.main import main
from tests.bombyx.attestation import tee
from tests.bombyx.attestation import test_tokens as tokens
from tests.bombyx.attestation.ocsp_answers import Said

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


JWT = ["--kind", "nras", "--evidence"]


def test_a_token_of_nvidias_service_is_held_to_the_keys_given(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    keys, answer = tmp_path / "jwks.json", tmp_path / "eat.json"
    keys.write_bytes(tokens.jwks())
    answer.write_bytes(tokens.eat())
    at = ["--now", str(tokens.NOW + 10), "--json"]
    assert run(*JWT, str(answer), "--collateral", str(keys), *at) == 0
    steps = {step["name"]: step["result"] for step in told(capsys)["steps"]}
    assert (steps["nvidia_nras_verified"], steps["nonce_match"]) == ("pass", "unknown")
    nonce = ["--nonce", tokens.NONCE.hex()]
    assert run(*JWT, str(answer), "--collateral", str(keys), *nonce, *at) == 0
    document = told(capsys)
    assert "GPU-0" in document["claims"]
    assert {one["name"] for one in document["steps"] if one["result"] == "pass"} == {
        "response_schema", "nonce_match", "nvidia_nras_verified",
    }  # fmt: skip
    assert run(*JWT, str(answer), "--collateral", str(keys), "--nonce", "00", *at) == 1
    assert told(capsys)["error"]["code"] == "token_claims"
    assert run(*JWT, str(answer), *at) == 1
    assert told(capsys)["error"]["code"] == "collateral_missing"
    genuine = str(tee.FOLDER / "nvidia/hopperClaimsv3_detached_eat.json")
    assert run(*JWT, genuine, "--collateral", str(keys), "--now", "1749601900", "--json") == 1
    assert told(capsys)["error"]["code"] == "token_forged"


def test_a_token_of_intels_service_has_a_step_of_its_own(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    keys, token = tmp_path / "jwks.json", tmp_path / "token"
    keys.write_bytes(tokens.jwks())
    said: dict[str, Any] = {
        "attester_type": "TDX",
        "attester_tcb_status": "UpToDate",
        "tdx_is_debuggable": False,
    }
    data = b"nonce".ljust(64, b"\0")
    text = tokens.token(TRUST_AUTHORITY, tdx_report_data=data.hex(), **said)
    token.write_text(text + "\n", encoding="utf-8")
    given = ["--kind", "trust-authority", "--evidence", str(token), "--collateral", str(keys)]
    at = ["--now", str(tokens.NOW + 10), "--json"]
    for nonce in ([], ["--nonce", b"nonce".hex()]):
        assert run(*given, *nonce, *at) == 0
        document = told(capsys)
        steps = {step["name"]: step["result"] for step in document["steps"]}
        assert steps["trust_authority_verified"] == "pass"
        assert steps["nonce_match"] == ("pass" if nonce else "unknown")
        assert document["claims"]["attester_type"] == "TDX"
    assert run(*given, "--nonce", "00", *at) == 1
    assert told(capsys)["error"]["code"] == "token_claims"
    token.write_bytes(b"\xff")
    assert run(*given, *at) == 1
    assert told(capsys)["error"]["code"] == "token_malformed"


def test_nvidias_word_may_come_in_several_files_or_in_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    answer, file = tmp_path / "answer.der", tmp_path / "collateral.json"
    answer.write_bytes(Said(about=None).der())
    more = ["--collateral", RIM, "--collateral", str(answer)]
    # The answer is about nobody's certificate here, the reference about another driver.
    assert run(*GPU, *more, *JUNE, "--json") == 1
    assert told(capsys)["error"]["code"] == "collateral_mismatch"
    assert run(*GPU, "--collateral", str(answer), *JUNE, "--json") == 0
    steps = {step["name"]: step for step in told(capsys)["steps"]}
    assert steps["nvidia_not_revoked"]["result"] == "unknown"
    assert "0 of 3 certificates" in steps["nvidia_not_revoked"]["detail"]
    empty = VendorFile(v="bombyx-collateral/1", items=[])
    file.write_bytes(canonical.encode(empty))
    assert run(*GPU, "--collateral", str(file), *JUNE, "--json") == 0
    capsys.readouterr()
    for wrong in (b"", b"?", b"{}"):
        file.write_bytes(wrong)
        assert run(*GPU, "--collateral", str(file), *JUNE, "--json") == 1
        assert told(capsys)["error"]["code"] == "collateral_malformed"


def test_one_file_of_collateral_is_enough_for_cpus(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*TDX, *WITH, *WITH, *AT) == 2
    assert "too many files" in capsys.readouterr().err


def root(*arguments: str) -> int:
    return main(["evidence", "verity-root", *arguments, "--json"])


def test_an_images_root_is_told_and_compared_with_a_command_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    image, line = tmp_path / "image", tmp_path / "cmdline"
    image.write_bytes(bytes(3 * BLOCK_BYTES))
    expected = verity_root([bytes(BLOCK_BYTES)] * 3, salt=b"\x01").hex()
    place = "org/model@" + "c" * 40
    assert root("--image", str(image), "--salt", "01", "--model", place) == 0
    assert told(capsys) == {"root": expected, "model_hash": model_hash(place, expected).hex()}
    line.write_text(f"ro roothash={expected}\n", encoding="utf-8")
    assert root("--image", str(image), "--salt", "01", "--command-line", str(line)) == 0
    assert told(capsys)["named"] is True
    assert root("--image", str(image), "--command-line", str(line)) == 1
    assert told(capsys)["named"] is False
    for wrong in (["--salt", "x"], ["--model", "unnamed"]):
        assert root("--image", str(image), *wrong) == 2
    image.write_bytes(b"uneven")
    assert root("--image", str(image)) == 2
