"""SPEC 1.8: what a folder may hold, what names it, and that nothing in it may change."""

import hashlib
import os
from pathlib import Path

import pytest
from msgspec import UNSET

from bombyx.errors import SetupError
from bombyx.manifest import MANIFEST_FILE, ManifestEngine, lone_gguf, manifest_digest
from tests.worker.models.folders import GGUF, TEMPLATE, files, safetensors, write
from worker.models.folder import MAX_SETTINGS_BYTES
from worker.models.manifests import build_manifest, read_manifest, verify_model, write_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "model", files())


def test_every_file_that_influences_output_is_listed(folder: Path) -> None:
    write(folder, {"README.md": b"#", "LICENSE": b"", ".gitattributes": b"", "sub/x.json": b"{}"})
    told: list[int] = []
    made = build_manifest(folder, advance=told.append)
    assert [file.path for file in made.files] == sorted([*files(), "sub/x.json"])
    for file in made.files:
        data = (folder / file.path).read_bytes()
        assert (file.size, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert (made.format, sum(told)) == ("safetensors", made.size)
    assert made.chat_template == hashlib.sha256(TEMPLATE.encode()).hexdigest()


def test_a_template_within_the_settings_is_named_too(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    assert build_manifest(folder).chat_template is UNSET
    write(folder, {"tokenizer_config.json": b'{"chat_template": "x"}'})
    assert build_manifest(folder).chat_template == hashlib.sha256(b"x").hexdigest()
    write(folder, {"tokenizer_config.json": b'{"chat_template": [{"name": "a", "template": "b"}]}'})
    assert build_manifest(folder).chat_template not in (UNSET, hashlib.sha256(b"x").hexdigest())


def test_a_lone_gguf_is_the_same_model_as_a_folder_with_only_it(tmp_path: Path) -> None:
    sha256 = hashlib.sha256(GGUF.read_bytes()).hexdigest()
    expected = lone_gguf(GGUF.name, size=GGUF.stat().st_size, sha256=sha256)
    assert build_manifest(GGUF) == expected
    write(tmp_path, {GGUF.name: GGUF.read_bytes(), "README.md": b""})
    assert build_manifest(tmp_path) == expected


@pytest.mark.parametrize(
    ("path", "data", "sentence"),
    [
        ("pytorch_model.bin", b"x", "pytorch_model.bin: is a pickle"),
        ("a/b.pt", b"x", "a/b.pt: is a pickle"),
        ("weights.pkl", b"x", "is a pickle"),
        ("model.ckpt", b"x", "is a pickle"),
        ("modeling_x.py", b"", "modeling_x.py: is code"),
        ("x.exe", b"", "x.exe: is no file that a model is made of"),
        ("config.json", b'{"auto_map": {"AutoModel": "x.Y"}}', "config.json: has auto_map"),
        ("config.json", b'{"text_config": [{"auto_map": {}}]}', "has auto_map"),
        ("tokenizer_config.json", b'{"auto_map": {}}', "tokenizer_config.json: has auto_map"),
        ("config.json", b"{", "config.json: is no JSON"),
        ("config.json", b"[" * 100_000, "config.json: is no JSON"),
        ("config.json", b" " * (MAX_SETTINGS_BYTES + 1), "too long"),
        ("x.safetensors", b"\x80\x04pickled", "x.safetensors: is no safetensors file"),
        ("x.safetensors", b"", "is no safetensors file"),
        ("x.safetensors", safetensors()[:20], "is no safetensors file"),
        ("x.gguf", b"GGUFx", "holds safetensors and GGUF"),
        (".cache/x.json", b"{}", ".cache: is a hidden folder"),
        ("a/b/c/d/e/f.json", b"{}", "lies too deep"),
        ("ümlaut.json", b"{}", "a manifest cannot hold such a name"),
    ],
)
def test_what_does_not_belong_in_a_folder_is_refused_by_name(
    folder: Path, path: str, data: bytes, sentence: str
) -> None:
    write(folder, {path: data})
    with pytest.raises(SetupError, match=sentence):
        build_manifest(folder)


@pytest.mark.spec("1.8-b")
def test_a_link_that_leaves_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    write(tmp_path, {"outside.json": b"{}"})
    link = folder / "generation_config.json"
    link.symlink_to(tmp_path / "outside.json")
    with pytest.raises(SetupError, match=r"generation_config.json: is a link that leaves"):
        build_manifest(folder)
    link.unlink()
    link.symlink_to("config.json")
    assert link.name in {file.path for file in build_manifest(folder).files}
    link.unlink()
    link.symlink_to("absent.json")
    with pytest.raises(SetupError, match="link to nothing"):
        build_manifest(folder)
    link.unlink()
    write(folder, {"sub/a.json": b"{}"})
    link.symlink_to("sub")
    with pytest.raises(SetupError, match="link to a folder"):
        build_manifest(folder)


def test_what_is_no_plain_file_is_refused(folder: Path) -> None:
    os.mkfifo(folder / "vocab.json")
    with pytest.raises(SetupError, match=r"vocab.json: is no plain file"):
        build_manifest(folder)


def test_a_folder_without_weights_and_a_path_to_nothing_say_so(tmp_path: Path) -> None:
    write(tmp_path, {"config.json": b"{}"})
    with pytest.raises(SetupError, match="no weights"):
        build_manifest(tmp_path)
    with pytest.raises(SetupError, match="there is no model at"):
        build_manifest(tmp_path / "absent")
    with pytest.raises(SetupError, match="name a folder, or a GGUF file"):
        build_manifest(tmp_path / "config.json")
    write(tmp_path, {"x.gguf": b"PICK"})
    with pytest.raises(SetupError, match=r"x.gguf: is no GGUF file"):
        build_manifest(tmp_path / "x.gguf")


def test_a_manifest_beside_the_files_is_read_again_and_is_no_part_of_itself(folder: Path) -> None:
    engine = ManifestEngine(name="sglang", flags={"dtype": "auto"})
    made = build_manifest(folder, engine=engine)
    kept = write_manifest(folder, made)
    assert read_manifest(kept) == made
    assert manifest_digest(build_manifest(folder, engine=engine)) == manifest_digest(made)
    verify_model(folder, made)
    assert read_manifest(folder / "absent.json") is None
    for bad in (b"{}", b"[" * 100_000, b" " * (2**21 + 1)):
        kept.write_bytes(bad)
        with pytest.raises(SetupError, match="manifest"):
            read_manifest(kept)
    with pytest.raises(SetupError, match="cannot be read"):
        read_manifest(folder)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"extra.json": b"{}"}, "extra.json: is not in the manifest"),
        ({"config.json": b'{"model_type": "LLAMA"}'}, "config.json: has another SHA-256"),
        ({"config.json": b"{}"}, "config.json: has 2 bytes, the manifest says 23"),
    ],
)
def test_a_folder_that_changed_after_its_manifest_is_refused(
    folder: Path, change: dict[str, bytes], sentence: str
) -> None:
    made = build_manifest(folder)
    write(folder, change)
    with pytest.raises(SetupError, match=sentence):
        verify_model(folder, made)


def test_a_missing_file_is_noticed_and_many_troubles_are_summed_up(folder: Path) -> None:
    made = build_manifest(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(SetupError, match=r"tokenizer.json: is missing"):
        verify_model(folder, made)
    write(folder, {f"{number}.json": b"{}" for number in range(9)})
    with pytest.raises(SetupError, match="and 5 more"):
        verify_model(folder, made)


@pytest.mark.spec("1.8-b")
def test_a_change_that_keeps_size_and_times_is_noticed(folder: Path) -> None:
    made = build_manifest(folder)
    path = folder / "model-00001-of-00002.safetensors"
    stat = path.stat()
    path.write_bytes(path.read_bytes().replace(b"one", b"two"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(SetupError, match="another SHA-256"):
        verify_model(folder, made)


def test_a_manifest_whose_template_is_not_that_of_its_files_is_refused(folder: Path) -> None:
    made = build_manifest(folder)
    forged = type(made)(
        v=made.v, format=made.format, files=made.files, chat_template="0" * 64, engine=made.engine
    )
    with pytest.raises(SetupError, match="format or chat template"):
        verify_model(folder, forged)


def test_a_manifest_that_cannot_be_written_says_so(folder: Path) -> None:
    (folder / f".{MANIFEST_FILE}.new").mkdir()
    with pytest.raises(SetupError, match="cannot be written"):
        write_manifest(folder, build_manifest(GGUF))
