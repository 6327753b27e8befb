"""The papers say what the code does: every code, command, route, setting and step is in them."""

import ast
import importlib
import inspect
import pkgutil
import re
import shutil
import subprocess
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

import pytest
import typer
from fastapi.routing import APIRoute

import bombyx
import gateway
import ton
import worker
from bombyx.attestation.steps import SIMULATED_UNKNOWN, STEPS
from bombyx.cli import catalogue
from bombyx.errors import BombyxError
from bombyx.link.frames import LinkType
from bombyx.settings import RoleSettings
from bombyx.signing import Kind
from gateway.accounts import endpoints as accounts
from gateway.admin import endpoints as admin
from gateway.app import INFERENCE_PATHS
from gateway.channels import endpoints as channels
from gateway.channels import treasury_endpoints as treasury
from gateway.collateral import endpoints as collateral
from gateway.directory import endpoints as directory
from gateway.receipts import endpoints as receipts
from gateway.settings import LINK_PREFIX
from gateway.workers import evidence_endpoints as evidence

ROOT = Path(__file__).parent.parent
SPEC = (ROOT / "SPEC.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
ERRORS = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
PAPERS = [ROOT / "README.md", ROOT / "SPEC.md", *sorted((ROOT / "docs").glob("*.md"))]
RETRY = {True: "yes", False: "no", None: ""}


def rows(text: str) -> list[list[str]]:
    """The cells of every table row whose first cell is code."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]


def errors() -> dict[str, type[BombyxError]]:
    """Every error class of every package by its code."""
    for package in (bombyx, gateway, ton, worker):
        load_all(package)
    found: dict[str, type[BombyxError]] = {}
    waiting: list[type[BombyxError]] = [BombyxError]
    while waiting:
        one = waiting.pop()
        waiting += one.__subclasses__()
        if not one.__module__.startswith("tests."):
            found[one.code] = one
    return found


def load_all(package: ModuleType) -> None:
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def expected_errors() -> set[tuple[str, str, str, str]]:
    return {
        (f"`{code}`", str(one.status), f"`{one.type}`", RETRY[one.should_retry])
        for code, one in errors().items()
    }


def test_every_error_code_is_explained_with_its_status_type_and_retry() -> None:
    told = [(*row[:4],) for row in rows(ERRORS)]
    assert set(told) == expected_errors()
    assert len(told) == len(set(told))


def test_the_specification_lists_the_same_errors() -> None:
    section = SPEC.partition("\n## 19 Errors")[2]
    told = {(row[0], row[1], row[2], row[3] if len(row) > 3 else "") for row in rows(section)}
    told = {(*cells[:3], cells[3].strip(" |")) for cells in told}
    assert told == expected_errors()


def test_the_specification_lists_the_steps_and_what_stays_unknown() -> None:
    section = SPEC.partition("<!-- steps:")[2].partition("\n\n")[0]
    told = [(row[0].strip("`"), row[1].strip(" |"), "unknown" in row[2:]) for row in rows(section)]
    assert told == [(step.value, text, step in SIMULATED_UNKNOWN) for step, text in STEPS.items()]


def test_the_specification_lists_every_kind_of_signature_and_link_frame() -> None:
    assert [kind for kind in Kind if f"`{kind.value}`" not in SPEC] == []
    table = SPEC.partition("**10.1**")[2].partition("**10.2**")[0]
    for kind in LinkType:
        assert re.search(
            rf"^\| [\d, ]*\b{kind.value}\b[\d, ]* \| .*{kind.name.lower()}", table, re.MULTILINE
        )


def test_every_rule_that_code_cites_is_in_the_specification() -> None:
    rules = set(re.findall(r"^(?:\*\*|## |\| )(\d+(?:\.\d+)?)\b", SPEC, re.MULTILINE))
    missing = {}
    for path in sorted(
        path
        for folder in ("bombyx", "gateway", "ton", "worker")
        for path in (ROOT / folder).rglob("*.py")
    ):
        text = path.read_text(encoding="utf-8")
        for cited in re.findall(r"SPEC ((?:\d+(?:\.\d+)?(?:, | and | to )?)+)", text):
            absent = set(re.findall(r"\d+(?:\.\d+)?", cited)) - rules
            if absent:
                missing[str(path.relative_to(ROOT))] = absent
    assert missing == {}


def commands() -> list[str]:
    names = []
    for name, point in catalogue.installed().items():
        target = catalogue.load(point)
        if isinstance(target, typer.Typer):
            group = typer.main.get_group(target)
            names += [f"{name} {command}" for command in group.commands]
        else:
            names.append(name)
    return names


def test_every_command_is_documented_and_summed_up() -> None:
    assert [name for name in commands() if f"`bombyx {name}`" not in OPERATIONS] == []
    assert set(catalogue.installed()) == set(catalogue.SUMMARIES)


def test_every_flag_of_up_and_demo_is_documented() -> None:
    for name in ("up", "demo"):
        target = catalogue.load(catalogue.installed()[name])
        flags = {"--" + flag.replace("_", "-") for flag in inspect.signature(target).parameters}
        flags = {"--json" if flag == "--as-json" else flag for flag in flags}
        assert [flag for flag in flags if f"`{flag}`" not in OPERATIONS] == []


def routes() -> set[str]:
    found = {f"POST {path}" for path in INFERENCE_PATHS} | {f"WS {LINK_PREFIX}{{slot}}"}
    routers = (accounts, admin, channels, collateral, directory, evidence, receipts, treasury)
    for router in (module.router for module in routers):
        for route in router.routes:
            assert isinstance(route, APIRoute)
            path = route.path.replace(":path", "")
            found |= {f"{method} {path}" for method in route.methods or ()}
    return found | {"GET /healthz", "GET /readyz", "GET /metrics"}


def test_every_route_is_documented() -> None:
    section = SPEC.partition("\n## 18 HTTP")[2].partition("\n## 19")[0]
    told = set(re.findall(r"`((?:GET|POST|WS) [^`?]+)(?:\?[^`]*)?`", section))
    assert routes() == told


def test_every_setting_is_documented_in_its_section_and_nothing_else() -> None:
    for point in entry_points(group="bombyx.settings"):
        settings = point.load()
        assert issubclass(settings, RoleSettings)
        section = OPERATIONS.partition(f"### [{point.name}]")[2].partition("\n##")[0]
        assert {row[0].strip("`") for row in rows(section)} == set(settings.model_fields)


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("path", PAPERS, ids=lambda path: path.name)
def test_python_in_the_papers_compiles(path: Path) -> None:
    for code in blocks(path.read_text(encoding="utf-8"), "python"):
        compile(code, path.name, "exec", flags=ast.PyCF_ONLY_AST)


def test_the_readme_names_what_the_library_has() -> None:
    for name in re.findall(r"\bbombyx\.(\w+)\(", README):
        assert hasattr(bombyx, name)
    for name in re.findall(r"`bombyx\.(\w+)`", README):
        assert hasattr(bombyx, name)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)|`make (\w+)`", README, re.MULTILINE):
        assert re.search(rf"^{''.join(target)}:", makefile, re.MULTILINE), target


def test_links_between_the_papers_lead_somewhere() -> None:
    links = [
        (path, link)
        for path in PAPERS
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8"))
        if not re.match(r"https?:", link)
    ]
    assert [link for path, link in links if not (path.parent / link).exists()] == []


def test_links_within_the_specification_lead_to_its_sections() -> None:
    titles = re.findall(r"^## (.+)$", SPEC, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([^)]+)\)", SPEC)) == anchors


def test_examples_compile() -> None:
    for path in sorted((ROOT / "examples").glob("*.py")):
        compile(path.read_text(encoding="utf-8"), path.name, "exec", flags=ast.PyCF_ONLY_AST)
    for path in sorted((ROOT / "examples").glob("*.sh")):
        shell = shutil.which("sh")
        assert shell
        assert subprocess.run([shell, "-n", str(path)], check=False).returncode == 0
