"""`bombyx receipt verify`: holds for the file as signed, and for no other digit."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bombyx.cli.main import main
from bombyx.money.statement import Status
from tests.factories import hex_of, receipt, worker

KEYSET = worker().keyset


def document(**changes: Any) -> dict[str, Any]:
    return {
        "receipt": msgspec.to_builtins(receipt(**changes)),
        "keyset": msgspec.to_builtins(KEYSET),
    }


def written(tmp_path: Path, what: Any) -> str:
    path = tmp_path / "receipt.json"
    path.write_text(what if isinstance(what, str) else json.dumps(what), encoding="utf-8")
    return str(path)


def test_a_genuine_receipt_verifies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, document())
    assert main(["receipt", "verify", file, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["valid"] is True
    assert told["worker_known"] is True
    assert told["statement"]["worker"] == worker().id
    assert main(["receipt", "verify", file]) == 0
    assert "nano" in capsys.readouterr().out


def test_every_changed_digit_is_found(tmp_path: Path) -> None:
    """One digit at a time, all over the file; the rest is a fixed sample, to be quick."""
    text = json.dumps(document())
    places = [found.start() for found in re.finditer(r"[0-9a-f]", text)]
    for at in places[:: len(places) // 120]:
        changed = "1" if text[at] != "1" else "2"
        file = written(tmp_path, text[:at] + changed + text[at + 1 :])
        assert main(["receipt", "verify", file]) == 1, text[max(0, at - 30) : at + 10]


def test_without_a_keyset_the_key_must_be_given(tmp_path: Path) -> None:
    file = written(tmp_path, {"receipt": document()["receipt"]})
    assert main(["receipt", "verify", file]) == 1
    assert main(["receipt", "verify", file, "--receipt-key", KEYSET.receipt_key]) == 0
    for wrong in ("ab", "zz" * 32, hex_of("other")):
        assert main(["receipt", "verify", file, "--receipt-key", wrong]) == 1


def test_a_given_key_must_be_the_keysets(tmp_path: Path) -> None:
    file = written(tmp_path, document())
    assert main(["receipt", "verify", file, "--receipt-key", KEYSET.receipt_key]) == 0
    assert main(["receipt", "verify", file, "--receipt-key", hex_of("other")]) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"status": Status.PARTIAL},
        {"worker": hex_of("other")},
        {"boot": hex_of("other", 16)},
        {"weights": hex_of("other")},
        {"model": "other"},
        {"charge_nano": "1"},
    ],
)
def test_a_signed_receipt_of_something_else_is_refused(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    assert main(["receipt", "verify", written(tmp_path, document(**changes))]) == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"receipt":1}', "\x00", " " * (2**20 + 1)])
def test_a_file_that_is_no_receipt_is_refused(tmp_path: Path, text: str) -> None:
    assert main(["receipt", "verify", written(tmp_path, text)]) == 1


def test_a_missing_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["receipt", "verify", str(tmp_path / "none")]) == 1
    assert "cannot be read" in capsys.readouterr().err
