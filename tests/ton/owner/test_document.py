"""The owner's view adds up, for programs and for people."""

from pathlib import Path

import msgspec
import pytest
from msgspec import UNSET

from bombyx.cli.output import Output
from bombyx.errors import SetupError
from bombyx.link.standing import ModelStanding
from tests.ton.owner.samples import (
    AT,
    COST,
    GATEWAY,
    HOUR,
    MODEL,
    ORIGIN,
    PRICES,
    counts,
    document,
    gpus,
    model,
    sight,
    standing,
)
from ton.owner.folders import folders
from ton.owner.status.asking import origin
from ton.owner.status.document import owner_document
from ton.owner.status.shown import shown
from ton.owner.status.sums import gram, utilisation


def test_sums_are_those_of_the_hours() -> None:
    other = sight(state="other", document=document(hours=[counts(30)], unpaid_nano={}))
    told = owner_document([sight(), other, sight(document=None)], at=AT)
    first, second, third = told["workers"]
    assert (first["requests_day"], first["earned_day_nano"]) == (120, "3195000")
    assert (second["requests_day"], second["earned_day_nano"]) == (0, "0")
    assert (third["running"], third["serving"]) == (False, False)
    assert told["totals"] == {
        "workers": 3,
        "serving": 2,
        "earned_hour_nano": "2130000",
        "earned_day_nano": "3195000",
        "earned_kept_nano": "6390000",
        "claimable_nano": "0",
        "unpaid_nano": "3195000",
    }
    (model,) = first["models_day"]
    assert (model["model"], model["requests"], model["prompt"]) == (MODEL, 120, 108_000)


def test_refusals_are_summed_with_their_reasons() -> None:
    hours = [counts(1, refused={"busy": 2, "x": 1}), counts(0, "", refused={"busy": 3}, requests=0)]
    (told,) = owner_document([sight(document=document(hours=hours))], at=AT)["workers"]
    assert list(told["refused_day"].items()) == [("busy", 5), ("x", 1)]


def test_utilisation_is_busy_time_over_the_slots_of_whole_hours() -> None:
    one = document(at=HOUR + 1800, slots=2, hours=[counts(1), counts(0, busy_ms=1_800_000)])
    assert utilisation(one, seconds=3600) == pytest.approx(5400 / (2 * 5400))
    assert utilisation(document(slots=0), seconds=3600) is None
    packed = document(at=HOUR, hours=[counts(0, busy_ms=10**9)])
    assert utilisation(packed, seconds=3600) == 1.0


@pytest.mark.parametrize(
    ("nano", "text"),
    [(0, "0.00"), (1, "0.000000001"), (1_500_000_000, "1.50"), (-2 * 10**9, "-2.00")],
)
def test_amounts_are_exact(nano: int, text: str) -> None:
    assert gram(nano) == text


def test_a_person_reads_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    seen = sight(
        document=document(
            paused=True,
            hours=[counts(1, refused={"busy": 1}), counts(0), counts(9, "", requests=0)],
        ),
        gpu=gpus(),
    )
    told = owner_document([seen, sight(state="gone", document=None, silence="it is gone")], at=AT)
    Output(as_json=False).answer(told, *shown(told))
    text = capsys.readouterr().out
    for words in (
        "STOPPED: it is paused",
        "gone: does not run",
        "STOPPED: it is gone",
        f"price of {MODEL}: the quartiles of 8 are {gram(COST // 2)}",
        "29% of the others are cheaper",
        "--price-prompt 10000000 ",
        "NVIDIA H100 80GB HBM3, 61 %",
        "refused in a day: busy 1",
        f"{ORIGIN}: breaker closed, 99% answered",
        "evidence tdx",
        "0 of 2 workers serve",
    ):
        assert words in text


def test_a_quiet_worker_and_one_of_another_version_are_shown_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = owner_document(
        [sight(document=document(hours=[], slots=0, links=[], offers=[]), gpu=None, standings={})],
        at=AT,
    )
    Output(as_json=False).answer(told, *shown(told))
    assert "links: none" in capsys.readouterr().out


def test_whoever_has_no_worker_yet_reads_what_others_ask(
    capsys: pytest.CaptureFixture[str],
) -> None:
    silent = "https://silent.example"
    unknown = ModelStanding("other", 0)
    known = standing(models=[model(own=UNSET), unknown])
    gone = {"document": None, "silence": "no worker runs on state", "gpu": None}
    told = owner_document(
        [sight(**gone, standings={ORIGIN: known, silent: "there is no connection"})], at=AT
    )
    Output(as_json=False).answer(told, *shown(told))
    text = capsys.readouterr().out
    assert "does not run" in text
    assert f"{silent} cannot be asked: there is no connection" in text
    assert f"price of {MODEL}: the quartiles of 8 are {gram(COST // 2)}" in text
    assert f"nobody offers other at {ORIGIN}" in text
    assert f"in the middle of them with --price-prompt {PRICES['prompt']} " in text


def test_a_worker_that_starts_is_shown_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    told = owner_document(
        [sight(document=None, silence="it reads its model", starts=True, standings={})], at=AT
    )
    assert (told["workers"][0]["starting"], told["totals"]["serving"]) == (True, 0)
    Output(as_json=False).answer(told, *shown(told))
    assert ": starts\n  STOPPED: it reads its model" in capsys.readouterr().out


def test_no_number_is_cut_short_on_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    name = "a-model-with-a-long-name/of-its-maker-70b"
    full = counts(0, name, earned_nano="123456789012", prompt=10**7, completion=10**6)
    told = owner_document([sight(document=document(hours=[full]), standings={})], at=AT)
    Output(as_json=False).answer(told, *shown(told))
    text = capsys.readouterr().out
    for words in (" 123.456789012 ", " 10000000 ", " 1000000 ", " 25.0% "):
        assert words in text
    assert "…" not in text


def test_standings_go_out_as_they_came() -> None:
    seen = sight(standings={ORIGIN: standing(), "https://b": "no way"})
    (told,) = owner_document([seen], at=AT)["workers"]
    assert told["gateways"][0]["standing"]["gateway"] == GATEWAY
    assert told["gateways"][1] == {"origin": "https://b", "error": "no way"}
    assert msgspec.json.encode(told)


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ("https://g.example", "https://g.example"),
        ("https://g.example/v1/", "https://g.example"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("wss://g.example/v1/workers/link/3", "https://g.example"),
        ("https://g.example/below", "https://g.example/below"),
    ],
)
def test_a_gateway_is_asked_where_its_owner_named_it(typed: str, asked: str) -> None:
    assert origin(typed) == asked


@pytest.mark.parametrize("typed", ["g.example", "ftp://g.example", "https://", "http://["])
def test_what_is_no_gateway_is_refused(typed: str) -> None:
    with pytest.raises(SetupError, match="is no gateway"):
        origin(typed)


def test_a_folder_of_several_workers_stands_for_all_of_them(tmp_path: Path) -> None:
    for name in ("gpu-0", "gpu-1", "worker-2"):
        (tmp_path / name).mkdir()
    (tmp_path / "worker-journal.db").write_text("")
    assert folders([tmp_path, tmp_path]) == [
        tmp_path / "gpu-0",
        tmp_path / "gpu-1",
        tmp_path / "worker-2",
    ]
    assert folders([tmp_path / "none"]) == [tmp_path / "none"]
    with pytest.raises(SetupError, match="cannot look into"):
        folders([tmp_path / ("x" * 300)])
