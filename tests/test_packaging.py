"""One wheel per role: each brings its own code and nothing of the others, and runs by itself."""

import json
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import HeaderParser
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
ROLES = {
    "bombyx": ROOT,
    "gateway": ROOT / "packaging/gateway",
    "ton": ROOT / "packaging/ton",
    "worker": ROOT / "packaging/worker",
}
PACKAGES = {
    "bombyx": {"bombyx"},
    "gateway": {"gateway", "migrations"},
    "ton": {"ton"},
    "worker": {"worker"},
}
WEB_AND_DATABASE = {
    "fastapi", "starlette", "flask", "django", "uvicorn", "sqlalchemy", "alembic", "asyncpg",
    "aiosqlite",
}  # fmt: skip


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheels of all roles, built without a network by the locked build backend."""
    target = tmp_path_factory.mktemp("wheels")
    for folder in ROLES.values():
        run(
            sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target), cwd=folder
        )
    names = {role: "bombyx-[0-9]*" if role == "bombyx" else f"bombyx_{role}*" for role in ROLES}
    return {role: next(target.glob(pattern)) for role, pattern in names.items()}


@pytest.mark.parametrize("role", ROLES)
def test_a_wheel_holds_its_packages_and_nothing_else(wheels: dict[str, Path], role: str) -> None:
    names = zipfile.ZipFile(wheels[role]).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES[role]
    stray = r"(^|/)(tests?|__pycache__|node_modules)/|\.pyc$|\.db$"
    strays = [name for name in names if re.search(stray, name)]
    assert strays == []
    assert any(name.endswith("/licenses/LICENSE") for name in names)


@pytest.mark.parametrize("role", ROLES)
def test_a_wheel_holds_every_module_of_its_packages(wheels: dict[str, Path], role: str) -> None:
    names = set(zipfile.ZipFile(wheels[role]).namelist())
    for package in PACKAGES[role]:
        modules = {str(path.relative_to(ROOT)) for path in (ROOT / package).rglob("*.py")}
        assert modules <= names


def test_the_library_says_that_it_is_typed(wheels: dict[str, Path]) -> None:
    assert "bombyx/py.typed" in zipfile.ZipFile(wheels["bombyx"]).namelist()


def test_all_wheels_carry_one_version_and_ask_for_that_very_library(
    wheels: dict[str, Path],
) -> None:
    metadata = {role: headers(wheel) for role, wheel in wheels.items()}
    versions = {of["Version"] for of in metadata.values()}
    assert len(versions) == 1
    for role in ("gateway", "ton", "worker"):
        asked = [Requirement(line) for line in metadata[role].get_all("Requires-Dist", [])]
        own = [one for one in asked if not one.marker]
        assert [str(one) for one in own] == [f"bombyx[{role}]=={versions.copy().pop()}"]


def test_the_wheel_of_payments_holds_the_contracts_their_code_and_what_installs_the_tvm(
    wheels: dict[str, Path],
) -> None:
    names = set(zipfile.ZipFile(wheels["ton"]).namelist())
    folder = ROOT / "ton/contracts"
    sources = {f"ton/contracts/{path.name}" for path in folder.glob("*.tolk")}
    artefacts = {f"ton/contracts/{path.name}" for path in folder.glob("*.json")}
    assert len(sources) >= 5
    assert {"ton/contracts/payment_channel.json", "ton/contracts/package-lock.json"} <= artefacts
    assert sources | artefacts | {"ton/tvm/glue.js"} <= names


def test_the_worker_brings_no_library_for_cells() -> None:
    assert not closure("bombyx", extras={"worker"}) & {"pytoniq-core", "mini-racer"}


def test_the_worker_brings_no_web_framework_and_no_database() -> None:
    assert not closure("bombyx", extras={"worker"}) & WEB_AND_DATABASE


def test_the_library_alone_brings_no_server_at_all() -> None:
    servers = {"aiohttp", "websockets", "prometheus-client"}
    assert not closure("bombyx", extras=set()) & (WEB_AND_DATABASE | servers)


@pytest.mark.parametrize(
    ("role", "absent"), [("bombyx", "gateway worker"), ("gateway", "worker"), ("worker", "gateway")]
)
def test_an_installed_wheel_shows_the_commands_of_its_role_alone(
    wheels: dict[str, Path], role: str, absent: str, tmp_path: Path
) -> None:
    chosen = {wheels["bombyx"], wheels[role]}
    quietly = ("--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
    run(
        sys.executable, "-m", "pip", "install", *quietly, "--target", str(tmp_path / "site"),
        *map(str, chosen), cwd=tmp_path,
    )  # fmt: skip
    shown = bombyx(tmp_path, "--help")
    assert shown.returncode == 0, shown.stderr
    listed = set(re.findall(r"^[│|] (\w+) ", shown.stdout, re.MULTILINE))
    assert "config" in listed
    for name in absent.split():
        assert name not in listed
        refused = bombyx(tmp_path, name)
        assert refused.returncode == 1
        assert refused.stderr.strip() == f"bombyx {name}: install bombyx-{name}"
    if role == "gateway":
        url = f"sqlite:///{tmp_path / 'fresh.db'}"
        for step in ("upgrade", "check"):
            done = bombyx(tmp_path, "db", step, "--database-url", url)
            assert done.returncode == 0, done.stderr
    told = bombyx(tmp_path, "config", "show", "--json")
    assert told.returncode == 0, told.stderr
    assert not set(json.loads(told.stdout)["settings"]) & set(absent.split())


def test_the_lock_file_pins_everything_by_hash_and_names_no_place() -> None:
    text = (ROOT / "requirements/dev.txt").read_text()
    entries = re.split(r"\n(?=[a-z])", text.strip())
    assert all(re.match(r"[\w-]+==[^\s]+ \\\n    --hash=sha256:", entry) for entry in entries)
    assert not re.search(r"://|--index|--find-links|--trusted-host| @ ", text)


def test_the_lock_file_satisfies_every_extra() -> None:
    text = (ROOT / "requirements/dev.txt").read_text()
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)", text, re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    for line in [*project["dependencies"], *(line for extra in extras for line in extra)]:
        asked = Requirement(line)
        if asked.name != "bombyx":
            assert asked.specifier.contains(pinned[canonicalize_name(asked.name)]), line


def run(*command: str, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def bombyx(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the installed `bombyx` with third-party packages, but without the editable install.

    -S leaves out the .pth file that makes this checkout importable.
    """
    code = (
        f"import sys; sys.path[:0] = [{str(folder / 'site')!r}];"
        f"sys.path.append({sysconfig.get_path('purelib')!r});"
        "from bombyx.cli.main import run; run()"
    )
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, *arguments],
        cwd=folder, capture_output=True, text=True, check=False, timeout=60,
        env={"COLUMNS": "100", "HOME": str(folder)},
    )  # fmt: skip


def headers(wheel: Path) -> Message:
    archive = zipfile.ZipFile(wheel)
    name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    return HeaderParser().parsestr(archive.read(name).decode())


def closure(name: str, *, extras: set[str]) -> set[str]:
    """Every distribution that installing `name[extras]` brings, by the metadata installed here."""
    seen: set[tuple[str, frozenset[str]]] = set()
    todo = [(name, frozenset(extras))]
    while todo:
        one = todo.pop()
        if one not in seen:
            seen.add(one)
            todo += [(canonicalize_name(it.name), frozenset(it.extras)) for it in asks(*one)]
    return {one for one, _ in seen}


def asks(name: str, extras: frozenset[str]) -> Iterator[Requirement]:
    try:
        lines = requires(name) or []
    except PackageNotFoundError:  # for another platform: its marker said so
        return
    for line in lines:
        asked = Requirement(line)
        wanted = ("", *extras)
        if asked.marker is None or any(asked.marker.evaluate({"extra": it}) for it in wanted):
            yield asked
