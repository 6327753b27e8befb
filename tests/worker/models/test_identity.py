"""SPEC 1.8: what a worker attests is its model's manifest, made anew at every boot."""

from pathlib import Path

import pytest

from bombyx.errors import SetupError
from bombyx.manifest import MANIFEST_FILE, ManifestEngine, manifest_digest
from tests.worker.models.folders import GGUF, files, write
from worker.engine.scripted import Scripted, ScriptedEngine
from worker.engine.supervised import SupervisedEngine
from worker.engines import build_engine
from worker.models.bounds import OVERHEAD_UNCOUNTED
from worker.models.identity import identified, model_manifest
from worker.models.manifests import build_manifest, write_manifest
from worker.settings import WorkerSettings

SETTINGS = WorkerSettings(engine="llamacpp", model="tiny", model_path=GGUF, threads=1, slots=1)


@pytest.mark.spec("1.8-a")
async def test_a_real_model_is_named_by_its_manifest_and_measured(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    for settings in (SETTINGS, SETTINGS.model_copy(update={"engine": "auto"})):
        engine = build_engine(settings, state=tmp_path, say=lambda _: None)
        try:
            await engine.start()
            (model,) = await identified(engine, settings, tmp_path)
        finally:
            await engine.close()
        assert model.weights == manifest_digest(build_manifest(GGUF))
        assert (model.id, model.bytes_factor, model.max_image_tokens) == ("tiny", 1, 0)
        assert 16 < model.overhead < OVERHEAD_UNCOUNTED


async def test_a_gguf_in_a_folder_is_named_as_the_folder_is(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    folder = write(tmp_path / "model", {GGUF.name: GGUF.read_bytes(), "notes.json": b"{}"})
    write_manifest(folder, build_manifest(folder))
    for path in (folder, folder / GGUF.name):
        settings = SETTINGS.model_copy(update={"model_path": path})
        engine = build_engine(settings, state=tmp_path, say=lambda _: None)
        assert isinstance(engine, SupervisedEngine)
        await engine.examine()
        (model,) = await identified(engine, settings, tmp_path)
        assert model.weights == manifest_digest(build_manifest(folder))
        assert model.overhead == OVERHEAD_UNCOUNTED, "an engine that is not started cannot count"


async def test_a_name_that_no_manifest_can_hold_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    write(tmp_path, {"ümlaut.gguf": GGUF.read_bytes()})
    settings = SETTINGS.model_copy(update={"model_path": tmp_path / "ümlaut.gguf"})
    engine = build_engine(settings, state=tmp_path, say=lambda _: None)
    assert isinstance(engine, SupervisedEngine)
    await engine.examine()
    with pytest.raises(SetupError, match="rename it"):
        await identified(engine, settings, tmp_path)


async def test_an_engine_that_holds_no_files_keeps_its_record(tmp_path: Path) -> None:
    engine = ScriptedEngine(Scripted())
    settings = WorkerSettings(engine="scripted")
    assert list(await identified(engine, settings, tmp_path)) == engine.models()


def test_a_gguf_beside_its_manifest_is_the_folders_model(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", {GGUF.name: GGUF.read_bytes(), "notes.json": b"{}"})
    write_manifest(folder, build_manifest(folder))
    named = model_manifest(folder)
    assert model_manifest(folder / GGUF.name) == named
    assert named != model_manifest(GGUF)
    write(folder, {"notes.json": b"[]"})
    with pytest.raises(SetupError, match=r"notes.json: has another SHA-256"):
        model_manifest(folder / GGUF.name)


def test_a_manifest_for_another_engine_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", files())
    write_manifest(folder, build_manifest(folder, engine=ManifestEngine(name="sglang")))
    assert model_manifest(folder, engine="sglang") == model_manifest(folder)
    for other in ("vllm", "auto"):
        with pytest.raises(SetupError, match="is for the engine sglang"):
            model_manifest(folder, engine=other)


def test_a_manifest_that_is_none_is_refused_rather_than_ignored(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", files(**{MANIFEST_FILE: b"{}"}))
    with pytest.raises(SetupError, match="is no model manifest"):
        model_manifest(folder)


@pytest.mark.spec("1.8-b")
def test_every_boot_reads_every_byte(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", files())
    write_manifest(folder, build_manifest(folder))
    told: list[int] = []
    for _ in range(2):
        model_manifest(folder, advance=told.append)
    assert sum(told) == 2 * build_manifest(folder).size
