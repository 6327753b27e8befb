"""`bombyx collateral`: what a gateway keeps, carried to another one as a file."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from bombyx import canonical, collateral_file
from bombyx.attestation.vendor import NvidiaReference, VendorFile, VendorItem, vendor_item
from bombyx.cli import output
from bombyx.cli.main import main
from gateway.collateral.lives import REFERENCE_SECONDS
from gateway.collateral.repository import Shelf
from gateway.collateral.service import CollateralService
from gateway.collateral.vendors import Vendors as Asked
from gateway.context import unix_seconds
from gateway.database import create_engine, upgrade
from tests.gateway.collateral.vendors import MILAN_CHIP, RIM, Vendors, vendors

STORY = (MILAN_CHIP, RIM)
"""Documents that are good today: the others were recorded and have ended."""


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    output._stdout.answered = False
    assert main([*arguments, "--json"]) == code
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def database(folder: Path, name: str) -> str:
    url = f"sqlite:///{folder / name}.db"
    asyncio.run(upgrade(url))
    return url


async def _fill(url: str) -> None:
    engine = create_engine(url)
    async with vendors() as around:
        service = make(Shelf(engine), around)
        try:
            for name in STORY:
                await service.find(name)
        finally:
            await service.close()
            await engine.dispose()


def make(shelf: Shelf, around: Vendors) -> CollateralService:
    asked = Asked.of(around.settings())
    return CollateralService(shelf, asked, unix=unix_seconds, now=lambda: 0.0, draw=lambda: 0.5)


@pytest.fixture
def filled(tmp_path: Path) -> str:
    url = database(tmp_path, "one")
    asyncio.run(_fill(url))
    return url


def test_a_file_carries_documents_from_one_gateway_to_another(
    filled: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "collateral.json")
    other = database(tmp_path, "two")
    told = run(capsys, "collateral", "export", file, "--database-url", filled)
    assert told == {"file": file, "documents": sorted(STORY)}
    first = run(capsys, "collateral", "import", file, "--database-url", other)
    assert first == {"taken": sorted(STORY), "left": []}
    again = run(capsys, "collateral", "import", file, "--database-url", other)
    assert again["taken"] in ([], [RIM])  # a clock may have moved on by a second
    here = run(capsys, "collateral", "status", "--database-url", other)["documents"]
    assert [one["name"] for one in here] == sorted(STORY)
    assert all(one["good"] for one in here)


def test_people_read_what_is_kept(filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["collateral", "status", "--database-url", filled]) == 0
    shown = capsys.readouterr().out
    assert f"{RIM}  good for 167 h, fetched 0 h ago" in shown or f"{RIM}  good for 168 h" in shown


def test_an_empty_gateway_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = database(tmp_path, "none")
    assert main(["collateral", "status", "--database-url", url]) == 0
    assert "no vendor's document is kept" in capsys.readouterr().out


def write(path: Path, *items: VendorItem) -> str:
    path.write_bytes(canonical.encode(VendorFile(v="bombyx-collateral/1", items=list(items))))
    return str(path)


def rim(*, fetched_at: int, next_update: int) -> VendorItem:
    data = canonical.encode(NvidiaReference(rim="<a/>"))
    return vendor_item(RIM, data, fetched_at=fetched_at, next_update=next_update)


@pytest.mark.spec("17.10-a")
def test_a_file_cannot_lie_about_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url, now = database(tmp_path, "one"), unix_seconds()
    ended = rim(fetched_at=now - REFERENCE_SECONDS, next_update=now + 10**8)
    file = write(tmp_path / "a", ended)
    told = run(capsys, "collateral", "import", file, "--database-url", url)
    assert told == {"taken": [], "left": [RIM]}
    future = rim(fetched_at=now + 10**8, next_update=now + 10**8)
    run(capsys, "collateral", "import", write(tmp_path / "b", future), "--database-url", url)
    (here,) = run(capsys, "collateral", "status", "--database-url", url)["documents"]
    assert here["next_update"] <= unix_seconds() + REFERENCE_SECONDS


@pytest.mark.spec("17.10-c")
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda text: text[:-3], "no file of collateral"),
        (lambda text: text.replace("<a/>", "<b/>"), "not what its digest says"),
        (lambda text: text.replace("nvidia/rim", "nvidia/rom"), "names no collateral"),
        (lambda text: text.replace("bombyx-collateral/1", "bombyx-collateral/2"), "no file"),
    ],
)
def test_a_file_that_was_changed_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Any, why: str
) -> None:
    url = database(tmp_path, "one")
    file = tmp_path / "file"
    text = Path(write(file, rim(fetched_at=1, next_update=2))).read_text()
    file.write_text(change(text))
    told = run(capsys, "collateral", "import", str(file), "--database-url", url, code=1)
    assert why in told["error"]["message"]


def test_a_document_without_dates_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = database(tmp_path, "one")
    data = canonical.encode(NvidiaReference(rim="no xml"))
    file = write(tmp_path / "file", vendor_item(RIM, data, fetched_at=1, next_update=2))
    told = run(capsys, "collateral", "import", file, "--database-url", url, code=1)
    assert "XML" in told["error"]["message"]


def test_files_that_cannot_be_used_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = database(tmp_path, "one")
    absent = str(tmp_path / "no" / "file")
    for verb, why in (("import", "cannot be read"), ("export", "cannot be written")):
        told = run(capsys, "collateral", verb, absent, "--database-url", url, code=1)
        assert why in told["error"]["message"]
    monkeypatch.setattr(collateral_file, "MAX_FILE_BYTES", 3)
    file = write(tmp_path / "file", rim(fetched_at=1, next_update=2))
    told = run(capsys, "collateral", "import", file, "--database-url", url, code=1)
    assert "longer" in told["error"]["message"]
