"""`bombyx attack`: what it says, whom it takes for a victim, and what it makes of failures."""

import json
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from bombyx.attack.against import Against, battlefield, strangers
from bombyx.attack.defence import Defence
from bombyx.attack.means.relay import serving
from bombyx.attack.record import Arsenal, Attack, Result, Role, Seen, succeeded
from bombyx.attack.run import all_attacks, chosen, run, run_one
from bombyx.attack.table import BEGIN, END, renewed, table
from bombyx.attack.target import Need, Target
from bombyx.cli.main import main
from bombyx.errors import PolicyError, SetupError

DOCUMENT = Path(__file__).parents[3] / "docs/attacks.md"
IN_PROCESS = ["fresh_key_read", "payer_key_planted_by_link"]


def made_up(name: str = "made_up", *needs: Need) -> Attack:
    async def wins(_: Target) -> Seen:
        return succeeded("nothing stopped us")

    return Attack(name, Role.CLIENT, Defence.LIMITS, "tries", "expected", frozenset(needs), wins)


def test_the_list_tells_what_each_attack_tries(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attack", "--list", "--only", "page", "--json"]) == 0
    attacks = json.loads(capsys.readouterr().out)["attacks"]
    assert {one["role"] for one in attacks} == {"page"}
    assert all(one["tries"] and one["expected"] and one["defence"] for one in attacks)
    assert main(["attack", "--list"]) == 0
    assert "page_with_own_origin" in capsys.readouterr().out


def test_what_needs_no_network_starts_none(capsys: pytest.CaptureFixture[str]) -> None:
    only = [part for name in IN_PROCESS for part in ("--only", name)]
    assert main(["attack", "--json", *only]) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out.splitlines()[-1])
    assert sorted(one["name"] for one in report["attacks"]) == IN_PROCESS
    assert "starting" not in captured.err
    assert main(["attack", *only]) == 0
    assert "defeated" in capsys.readouterr().out


def test_a_run_of_nothing_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    page = [
        "attack",
        "--only",
        "client",
        "--sidecar",
        "http://127.0.0.1:9",
        "--api-key",
        "k",
        "--json",
    ]
    assert main(page) == 1
    assert json.loads(capsys.readouterr().out)["attacks"] == []


@pytest.mark.parametrize(
    "wrong",
    [
        ["--only", "no_such_attack"],
        ["--gateway", "http://127.0.0.1:9"],
        ["--sidecar", "127.0.0.1:9", "--api-key", "k"],
        ["--sidecar", "http://127.0.0.1:9"],
    ],
)
def test_wrong_words_are_refused_in_one_sentence(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["attack", *wrong]) == 1
    assert capsys.readouterr().err.count("\n") == 1


async def test_what_breaks_shows_nothing_either_way() -> None:
    async def breaks(_: Target) -> Seen:
        raise ConnectionError("nobody answers")

    one = made_up()
    async with aiohttp.ClientSession() as http:
        broken = Attack(one.name, one.role, one.defence, "", "", one.needs, breaks)
        assert (await run_one(broken, Target(http))).result is Result.ERROR
        won = await run_one(one, Target(http))
        assert (won.result, won.observed) == (Result.SUCCEEDED, "nothing stopped us")
        assert [each async for each in run([made_up("x", Need.SIDECAR)], Target(http))] == []


async def test_a_victim_is_what_was_named(tmp_path: Path) -> None:
    with battlefield(
        Against(sidecar="http://127.0.0.1:9/v1/", api_key="k"), [], say=print
    ) as opened:
        async with opened() as target:
            assert target.sidecar == "http://127.0.0.1:9"
            assert target.has == {Need.SIDECAR}
    missing = Against(gateway="http://127.0.0.1:9", api_key="k", policy=tmp_path / "none")
    with pytest.raises(PolicyError):
        async with strangers(missing):
            pass


async def test_a_victim_that_answers_nobody_defeats_nothing() -> None:
    async def refuses(_: web.Request) -> web.Response:
        return web.Response(status=403)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", refuses)
    async with serving(app) as url, strangers(Against(sidecar=url, api_key="k")) as target:
        ran = [one async for one in run(chosen(["page"]), target)]
        assert {one.result for one in ran} == {Result.ERROR}
        assert all("an honest request fails too: 403" in one.observed for one in ran)


def test_every_attack_has_a_name_of_its_own_and_says_what_it_tries() -> None:
    attacks = all_attacks()
    assert all(one.tries and one.expected for one in attacks)
    arsenal = Arsenal()
    arsenal.add(attacks[0])
    with pytest.raises(ValueError, match=attacks[0].name):
        arsenal.add(attacks[0])


def test_a_stray_name_is_refused_and_no_name_means_all() -> None:
    assert chosen([]) == all_attacks()
    assert {one.role for one in chosen(["worker"])} == {Role.WORKER}
    with pytest.raises(SetupError):
        chosen(["worker", "nobody"])


def test_the_documented_table_is_the_one_of_the_code() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert renewed(text) == text
    assert table(all_attacks()).count("\n| `") == len(all_attacks())
    with pytest.raises(ValueError, match="lacks"):
        renewed(text.replace(BEGIN, "").replace(END, ""))
