"""`bombyx conformance`: what it prints, how it exits, and the page that lists its checks."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from bombyx.cli.main import main
from bombyx.conformance.record import CATALOGUE, Check
from bombyx.conformance.run import all_checks
from bombyx.conformance.view import checks_markdown
from tests.bombyx.conformance.mutations import framework
from tests.bombyx.conformance.wrong import WrongServer, unchanged
from tests.network.harness import Network

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/conformance.md").read_text(encoding="utf-8")
USAGE = 2
served = pytest.mark.asyncio(loop_scope="module")


async def run(*arguments: str) -> int:
    """In a thread: the command has a loop of its own, and the server runs in ours."""
    return await asyncio.to_thread(main, ["conformance", *arguments])


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


@served
async def test_a_good_gateway_exits_with_0(
    net: Network, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        await run(net.base_url, "--key", key, "--only", "models", "--only", "errors", "--json") == 0
    )
    report = printed(capsys)
    assert (report["url"], report["model"]) == (net.base_url, "scripted")
    assert report["failed"] == report["skipped"] == 0
    assert report["passed"] == len(report["checks"]) == 16
    assert set(report["checks"][0]) == {
        "name", "area", "rule", "rests_on", "result", "said", "ms"
    }  # fmt: skip
    assert report["checks"][0]["rests_on"].startswith("https://platform.openai.com/docs/")


@served
async def test_a_wrong_gateway_exits_with_1_and_the_rule(
    wrong: WrongServer, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong.mutation = framework(200)
    arguments = ("--key", key, "--model", "scripted", "--only", "one_model_is_shown")
    assert await run(wrong.url, *arguments) == 1
    wrong.mutation = unchanged
    said = capsys.readouterr().out
    assert "fail" in said
    assert "`id` is missing" in said
    assert "A model is found by its id" in said


@served
async def test_the_key_comes_from_the_environment(
    net: Network, key: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    assert await run(net.base_url, "--only", "one_model_is_shown") == 0
    assert key not in "".join(capsys.readouterr())


@served
async def test_a_server_that_does_not_answer_is_wrong_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert await run("http://127.0.0.1:1/v1") == USAGE
    assert "nothing answers" in capsys.readouterr().err


@served
async def test_a_gateway_without_models_asks_for_a_name(
    wrong: WrongServer, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong.mutation = framework(401)
    assert await run(wrong.url, "--key", "none") == USAGE
    wrong.mutation = unchanged
    assert "--model" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [(), ("gateway.example",), ("ftp://x/v1",)])
def test_a_url_is_needed(arguments: tuple[str, ...]) -> None:
    assert main(["conformance", *arguments]) == USAGE


def test_a_stray_name_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance", "http://x/v1", "--only", "nothing_of_the_kind"]) == USAGE
    assert "nothing_of_the_kind" in capsys.readouterr().err


def test_the_checks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance", "--list", "--json"]) == 0
    assert [one["name"] for one in printed(capsys)["checks"]] == [one.name for one in all_checks()]
    assert main(["conformance", "--list", "--only", "tools"]) == 0
    assert "a_tool_is_called" in capsys.readouterr().out


def test_the_page_lists_the_checks_that_there_are() -> None:
    block = PAGE.partition("<!-- checks -->\n")[2].partition("<!-- /checks -->")[0]
    assert block == checks_markdown(all_checks())


def test_no_two_checks_have_one_name() -> None:
    (first, *_) = CATALOGUE.all()
    with pytest.raises(ValueError, match="two checks"):
        CATALOGUE.add(Check(first.name, "x", "y", "z", first.run))
