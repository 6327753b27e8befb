"""`bombyx demo` end to end, with the scripted engine: the whole story, its proofs, and silence."""

import json
import os
import socket
from pathlib import Path

import pytest

from bombyx.attestation.steps import SIMULATED_UNKNOWN, StepName
from bombyx.cli import output
from bombyx.cli.main import main
from bombyx.cli.network.proof import check_books
from bombyx.errors import BombyxError
from bombyx.money.cost import with_fee


def ports() -> tuple[str, ...]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return ("--port", str(one.getsockname()[1]), "--gateway-port", str(other.getsockname()[1]))


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of whoever runs the test, and a stdout that has said nothing yet."""
    for name in [name for name in os.environ if name.startswith("BOMBYX_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(output, "_stdout", output._Stdout())


def test_the_demo_proves_what_it_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--engine", "scripted", "--state", str(tmp_path), "--workers", "1", *ports())
    assert main(["demo", *flags, "--json"]) == 0
    out, told = capsys.readouterr()
    assert out.count("\n") == 1
    document = json.loads(out)
    assert list(document) == [
        "tier", "model", "answer", "verification", "hardware", "usage", "receipt", "receipt_file",
        "ledger",
    ]  # fmt: skip
    assert (document["tier"], document["model"]) == ("sealed", "scripted")
    assert document["answer"]
    results = {step["name"]: step["result"] for step in document["verification"]}
    assert list(results) == [step.value for step in StepName]
    assert "fail" not in results.values()
    unknown = {name for name, result in results.items() if result == "unknown"}
    assert unknown == set(SIMULATED_UNKNOWN)
    assert document["hardware"].startswith("platform_allowed: the policy does not name")
    assert f"refuses it: {document['hardware']}" in told
    statement = document["receipt"]["statement"]
    assert document["usage"]["completion_tokens"] == statement["tokens"]["completion"]
    amounts = [int(entry["amount_nano"]) for entry in document["ledger"]]
    assert sum(amounts) == 0
    assert min(amounts) == -int(statement["charge_nano"])
    file = Path(document["receipt_file"])
    assert main(["receipt", "verify", str(file)]) == 0
    file.write_text(file.read_text().replace(f'"{statement["amount_nano"]}"', '"7"'))
    assert main(["receipt", "verify", str(file)]) == 1
    assert document["answer"] in told
    assert "135 million" not in told


@pytest.mark.parametrize(
    ("amounts", "whole", "wrong"),
    [
        ((-105, 100, 5), "0", False),
        ((-105, 100, 5), "1", True),
        ((-105, 100, 4), "0", True),
        ((-104, 100, 4), "0", True),
        ((), "0", True),
    ],
)
def test_books_must_balance_and_the_debit_is_the_price(
    amounts: tuple[int, ...], whole: str, *, wrong: bool
) -> None:
    kinds = ("charge", "earning", "fee")
    entries = [
        {"account": kind, "kind": kind, "amount_nano": str(amount)}
        for kind, amount in zip(kinds, amounts, strict=False)
    ]
    cost = with_fee(100, 500)
    if wrong:
        with pytest.raises(BombyxError):
            check_books(entries, cost, whole_sum=whole)
    else:
        check_books(entries, cost, whole_sum=whole)
