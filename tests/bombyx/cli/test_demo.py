"""`bombyx demo` end to end, with the scripted engine: the whole story, its proofs, and silence."""

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from bombyx.attestation.steps import SIMULATED_UNKNOWN, StepName
from bombyx.cli import demo_channel, output
from bombyx.cli.main import main
from bombyx.cli.network import chain
from bombyx.cli.network.accounts import Snapshot, fees_between
from bombyx.cli.network.proof import check_books
from bombyx.client.channel.marks import UNREGISTERED, set_mark
from bombyx.client.channel.wallet import FOLDER, channel_folders
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


KEYS = [
    "tier", "model", "answer", "verification", "hardware", "usage", "receipt", "receipt_file",
    "ledger", "payment", "channel", "voucher", "claim", "payout", "balances",
]  # fmt: skip
Shown = tuple[dict[str, Any], str]


def demo(state: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> Shown:
    """What a demo printed, as a document and for people."""
    output._stdout.answered = False
    flags = ("--engine", "scripted", "--state", str(state), "--workers", "1", *ports(), *flags)
    assert main(["demo", *flags, "--json"]) == 0
    out, told = capsys.readouterr()
    assert out.count("\n") == 1
    document = json.loads(out)
    assert list(document) == KEYS
    return document, told


def test_the_demo_proves_what_it_shows_and_pays_by_channel(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document, told = demo(tmp_path, capsys, "--chain", "devnet")
    check_story(document, told)
    check_money(document)
    assert "all balances and fees add up to the nano" in told


def test_a_demo_that_was_cut_off_is_finished_by_the_next_on_other_ports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object) -> None:
        raise BombyxError("cut off")

    flags = ("--engine", "scripted", "--state", str(tmp_path), "--workers", "1")
    with monkeypatch.context() as patched:
        patched.setattr(demo_channel, "vouched", cut)
        assert main(["demo", *flags, *ports(), "--chain", "devnet"]) == 1
    (folder,) = channel_folders(tmp_path / "payer" / FOLDER)
    set_mark(folder, UNREGISTERED)  # as if its opening had been cut off as well
    capsys.readouterr()
    document, told = demo(tmp_path, capsys, "--chain", "devnet")
    check_story(document, told)
    assert document["channel"]["state"] == "closed"
    assert document["channel"]["address"] == f"0:{folder.name}"
    assert "all balances and fees add up to the nano" in told


def check_money(document: dict[str, Any]) -> None:
    charge = int(document["receipt"]["statement"]["charge_nano"])
    channel, claim, balances = document["channel"], document["claim"], document["balances"]
    assert document["payment"] == "channel"
    assert (channel["state"], channel["claimed_nano"]) == ("closed", str(charge))
    assert int(channel["deposited_nano"]) == charge + int(channel["refunded_nano"])
    assert int(document["voucher"]["amount_nano"]) >= charge
    assert (claim["exit_code"], claim["amount_nano"]) == (0, str(charge))
    assert 0 < claim["gas_used"] <= 5_500
    assert len(claim["tx"]) == 64
    payout, earned = document["payout"], int(document["receipt"]["statement"]["amount_nano"])
    assert (payout["by"], int(payout["amount_nano"]), int(payout["paid_nano"])) == (
        "channel", earned, earned,
    )  # fmt: skip
    assert (payout["exit_code"], len(payout["tx"])) == (0, 64)
    assert document["ledger"][1]["account"] == f"worker:{payout['wallet']}"
    kept = int(balances["after"]["channel"])
    fees = {name: int(amount) for name, amount in balances["fees"].items()}
    before, after = (
        {name: int(amount) for name, amount in balances[when].items()}
        for when in ("before", "after")
    )
    assert before["client"] - after["client"] == charge + kept + fees["client"]
    moved = {name: after[name] - before[name] for name in after}
    assert moved["gateway"] + moved["payout"] == charge - earned - fees["gateway"]
    assert moved["owner"] == earned - fees["owner"]
    assert fees["client"] + fees["gateway"] + fees["owner"] == fees["total"] > 0
    assert document["ledger"][0]["account"] == f"channel:{channel['address'].removeprefix('0:')}"


def test_where_no_tvm_is_the_demo_pays_from_credit_and_says_how_to_get_channels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "_TVM", "contracts/node_modules/@ton/none")
    document, told = demo(tmp_path, capsys)
    check_story(document, told)
    assert document["payment"] == "prepaid"
    money = ("channel", "voucher", "claim", "payout", "balances")
    assert [document[name] for name in money] == [None] * len(money)
    assert told.count(chain.NO_TVM) == 1


def check_story(document: dict[str, Any], told: str) -> None:
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


def at(client: int, gateway: int, owner: int, *, fees: int, payout: int = 20) -> Snapshot:
    accounts = {"client": client, "gateway": gateway, "payout": payout, "owner": owner}
    return Snapshot({**accounts, "channel": 0}, fees)


@pytest.mark.parametrize(
    ("after", "is_right"),
    [
        (at(90, 12, 2, fees=6), True),
        (at(90, 12, 2, fees=5), False),
        (at(91, 12, 2, fees=6), False),
        (at(89, 13, 2, fees=6), True),
        (at(90, 7, 2, fees=6, payout=25), True),
        (at(85, 15, 4, fees=6), False),
        (at(80, 22, 2, fees=6), False),
    ],
)
def test_a_nano_that_appears_or_is_gone_fails_the_demo(after: Snapshot, *, is_right: bool) -> None:
    before = at(100, 10, 0, fees=0)
    if is_right:
        fees = fees_between(before, after, paid=7, earned=3)
        assert (fees.total, fees.owner) == (6, 1)
        ours = after.accounts["gateway"] + after.accounts["payout"]
        assert fees.gateway == 30 + 7 - 3 - ours
    else:
        with pytest.raises(BombyxError):
            fees_between(before, after, paid=7, earned=3)
