"""The house rules that no linter knows, held by reading the source."""

import ast
import inspect
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

from bombyx import errors

ROOT = Path(__file__).parent.parent
CODE = ("bombyx", "gateway", "worker", "ton", "migrations", "benchmarks")
FILE_LINES = 400  # past this a file holds more than one idea
TEST_FILE_LINES = 600
RECORD_WORDS = 250
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "base", "manager", "managers"}
PURE = ("attestation", "chat", "envelope", "link", "money")
DATA = {".bin", ".der", ".gguf", ".json", ".pem", ".png", ".ico", ".wasm", ".woff2"}

# What only this machine or that registry knows. Written in pieces, so that this file passes itself.
MACHINE = re.compile(
    "|".join(
        (
            r"(?<![\w.~}/-])/" + r"(?:work|root|Users)/\w",
            r"(?<![\w.~}/-])/" + r"home/(?!runner\b|user\b|bombyx\b)\w",
            "pypi" + r"\.org|" + "pythonhosted" + r"\.org",
            "registry" + r"\.npmjs|" + "deb" + r"\.debian\.org",
            r"extra-" + r"index-url\s*=|find-" + r"links\s*=",
        )
    )
)
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def committed() -> list[Path]:
    """What git has or would take: tracked files, and new ones that are not ignored."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    paths = [ROOT / name for name in listing.split("\0") if name]
    return [path for path in paths if path.is_file() and path.suffix not in DATA]


def test_no_file_is_longer_than_one_idea() -> None:
    limits = [(path, FILE_LINES) for path in modules(*CODE)]
    limits += [(path, TEST_FILE_LINES) for path in modules("tests")]
    long = {
        named(path): lines
        for path, limit in limits
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > limit
    }
    assert long == {}


def test_no_module_has_a_vague_name() -> None:
    paths = [path.relative_to(ROOT) for path in modules(*CODE, "tests")]
    parts = {str(path): set(path.with_suffix("").parts) for path in paths}
    assert {name: part & VAGUE for name, part in parts.items() if part & VAGUE} == {}


def test_every_module_says_what_it_is() -> None:
    mute = [named(path) for path in modules(*CODE) if has_code(path) and not documented(path)]
    assert mute == []


def has_code(path: Path) -> bool:
    return bool(path.read_text(encoding="utf-8").strip())


def documented(path: Path) -> bool:
    return ast.get_docstring(parse(path)) is not None


def test_everything_public_in_the_library_is_documented() -> None:
    mute = [
        f"{named(path)}: {node.name}"
        for path in modules("bombyx")
        for node in public(parse(path).body)
        if ast.get_docstring(node) is None
    ]
    assert mute == []


def public(
    body: list[ast.stmt],
) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Public functions and classes, and the public methods of public classes."""
    for node in body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if node.name.startswith("_") or overload(node):
            continue
        yield node
        if isinstance(node, ast.ClassDef):
            yield from public(node.body)


def overload(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """An overload's or a property setter's documentation is that of its first part."""
    marks = {ast.unparse(mark).rpartition(".")[2] for mark in node.decorator_list}
    return bool(marks & {"overload", "setter"})


def error_classes() -> list[type[errors.BombyxError]]:
    return [
        each
        for _, each in inspect.getmembers(errors, inspect.isclass)
        if issubclass(each, errors.BombyxError)
    ]


def test_every_error_has_a_code_of_its_own() -> None:
    codes = Counter(vars(each).get("code", "") for each in error_classes())
    assert [code for code, times in codes.items() if times > 1 or not code] == []


def test_every_error_tells_when_it_is_raised() -> None:
    mute = [
        each.__name__
        for each in error_classes()
        if each is not errors.BombyxError and not (vars(each)["__doc__"] or "").startswith("Raised")
    ]
    assert mute == []


def test_the_import_contracts_hold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    code = lint_imports(
        config_filename=str(ROOT / "pyproject.toml"), no_cache=True, cache_dir=str(tmp_path)
    )
    assert code == 0


def test_the_core_reads_no_clock_and_no_randomness() -> None:
    """Elsewhere ruff bans `time.time`; a shell that hands the clock over says so in a noqa."""
    banned = {"time", "random", "secrets", "os", "socket", "logging", "datetime.now", "os.urandom"}
    core = [*modules(*(f"bombyx/{part}" for part in PURE)), *(ROOT / "bombyx").glob("*.py")]
    guilty = {named(path): found for path in core if (found := imports(parse(path)) & banned)}
    assert guilty == {}


def imports(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Attribute) and node.attr in {"now", "utcnow", "urandom"}:
            found.add(f"{ast.unparse(node.value).rpartition('.')[2]}.{node.attr}")
    return found


def test_no_committed_file_names_this_machine_or_a_registry() -> None:
    assert mentions(MACHINE) == []


def test_nothing_is_left_to_do() -> None:
    assert mentions(UNFINISHED) == []


def mentions(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{named(path)}:{number}"
        for path in committed()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if pattern.search(line)
    ]


def test_decision_records_are_short_and_name_what_enforces_them() -> None:
    for path in sorted((ROOT / "docs/adr").glob("*.md")):
        text = path.read_text(encoding="utf-8")
        assert re.match(rf"# {path.name[:4]}: ", text), path.name
        assert len(text.split()) <= RECORD_WORDS, path.name
        for section in ("Context", "Decision", "Consequences", "References"):
            assert f"\n## {section}\n" in text, f"{path.name} lacks {section}"


def test_every_test_folder_is_a_package() -> None:
    """Else pytest takes tests/gateway for the gateway itself."""
    folders = {path.parent for path in (ROOT / "tests").rglob("*.py")}
    assert [named(folder) for folder in folders if not (folder / "__init__.py").exists()] == []
