"""The frame of the command line: lazy commands, exit codes, what stdout and stderr get."""

import json
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import typer

from bombyx.cli import catalogue, output
from bombyx.cli.main import main
from bombyx.errors import BombyxError, SetupError
from tests.bombyx.cli.distribution import declare


def refuse(*, as_json: output.JsonOption = False) -> None:
    """Refuse, with a hint."""
    error = SetupError("port 1 is taken [by another]")
    error.add_note("choose another with --port")
    if as_json:
        output.Output(as_json=True).say("on the way")
    raise error


def serve_and_break(*, as_json: output.JsonOption = False) -> None:
    """Answer first, fail later."""
    output.Output(as_json=as_json).answer({"ready": True}, "ready [now]")
    raise BombyxError("the link broke")


def stumble() -> None:
    """Fail in a way that nobody foresaw."""
    raise ValueError("a prompt nobody should see")


def interrupted() -> None:
    """Be stopped by Ctrl-C."""
    raise KeyboardInterrupt


group = typer.Typer(help="A group with one command.")


@group.command()
def only() -> None:
    """The only command of the group."""
    typer.echo("only ran")


@pytest.fixture(autouse=True)
def _declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands of this file in place of the installed ones."""
    names = ["refuse", "serve_and_break", "stumble", "interrupted", "group"]
    points = {name: f"{__name__}:{name}" for name in names}
    points |= {"gateway": "absent_gateway.cli:it", "worker": "tests.bombyx.cli.absent:worker"}
    monkeypatch.setattr(catalogue, "GROUP", declare(tmp_path / "dist", points))
    monkeypatch.syspath_prepend(tmp_path / "dist")
    monkeypatch.setattr(output, "_stdout", output._Stdout())


def test_a_group_with_one_command_stays_a_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["group", "only"]) == 0
    assert capsys.readouterr().out == "only ran\n"


def test_a_refusal_is_one_sentence_with_its_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["refuse"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "port 1 is taken [by another]\nhint: choose another with --port\n"


def test_with_json_a_refusal_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["refuse", "--json"]) == 1
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert json.loads(out)["error"]["code"] == "setup_error"
    assert err.startswith("on the way\n")


def test_an_error_after_the_answer_adds_no_second_document(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["serve_and_break", "--json"]) == 1
    out, err = capsys.readouterr()
    assert out == '{"ready":true}\n'
    assert err == "the link broke\n"


def test_people_see_brackets_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    main(["serve_and_break"])
    assert capsys.readouterr().out == "ready [now]\n"


def test_an_unforeseen_error_shows_its_type_and_never_its_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["stumble"]) == 1
    err = capsys.readouterr().err
    assert "unforeseen ValueError" in err
    assert "prompt" not in err
    assert "Traceback" not in err


def test_an_unforeseen_error_may_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOMBYX_TRACEBACK", "1")
    with pytest.raises(ValueError, match="prompt"):
        main(["stumble"])


def test_ctrl_c_is_130() -> None:
    assert main(["interrupted"]) == 130


def test_wrong_usage_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["refuse", "--nonsense"]) == 2
    assert capsys.readouterr().out == ""


def test_a_misspelt_command_suggests_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["refus"]) == 2
    assert "Did you mean 'refuse'" in capsys.readouterr().err


def test_a_command_whose_wheel_is_absent_names_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(catalogue.DISTRIBUTIONS, "absent_gateway", "bombyx-gateway")
    assert main(["gateway"]) == 1
    assert capsys.readouterr().err == "bombyx gateway: install bombyx-gateway\n"


def test_help_shows_what_is_here_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert "refuse" in shown
    assert "gateway" not in shown
    assert "worker" not in shown


def test_a_folder_without_code_is_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hollow").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert not catalogue.is_present(EntryPoint("hollow", "hollow:it", catalogue.GROUP))


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needy.py").write_text("import a_module_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(catalogue.DISTRIBUTIONS, "needy", "bombyx")
    point = EntryPoint("proxy", "needy:proxy", catalogue.GROUP)
    with pytest.raises(SetupError, match=r"install 'bombyx\[proxy\]'"):
        catalogue.load(point)


def test_the_version_is_the_distributions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("bombyx ")


def test_completion_offers_commands_and_their_subcommands() -> None:
    assert complete("bombyx confi", 1) == ["config"]
    assert complete("bombyx config sh", 2) == ["show"]


def complete(words: str, at: int) -> list[str]:
    """What bash would offer, asked of the real script as bash asks."""
    done = run_script(
        {"_BOMBYX_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(at)}
    )
    return done.stdout.split()


def test_help_imports_no_role_and_no_command() -> None:
    code = (
        "import sys; from bombyx.cli.main import main; main(['--help']);"
        "loaded = {name.partition('.')[0] for name in sys.modules};"
        "assert not loaded & {'gateway', 'worker', 'cryptography', 'pydantic', 'fastapi'}, loaded;"
        "assert 'bombyx.cli.config_command' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr


def run_script(environ: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    code = "from bombyx.cli.main import run; run()"
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PATH": "/usr/bin:/bin", **environ},
    )
