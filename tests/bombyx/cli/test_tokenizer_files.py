"""SPEC 1.8: which GGUF file is the model that a receipt names."""

import hashlib
from pathlib import Path

from bombyx import canonical
from bombyx.cli.tokenizer_files import find_model, is_model
from bombyx.manifest import MANIFEST_FILE, Manifest, ManifestFile, lone_gguf, manifest_digest

DATA = b"GGUF mine"
SHA256 = hashlib.sha256(DATA).hexdigest()


def test_a_file_is_known_by_its_manifest_and_by_its_own_hash(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(DATA)
    alone = manifest_digest(lone_gguf("m.gguf", size=len(DATA), sha256=SHA256))
    assert is_model(path, alone)
    assert is_model(path, SHA256)
    assert not is_model(path, "0" * 64)
    assert find_model(alone, [tmp_path]) == path
    path = path.rename(tmp_path / "ümlaut.gguf")
    assert not is_model(path, alone)
    assert is_model(path, SHA256)


def test_a_file_of_a_folder_is_known_by_the_folders_manifest(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(DATA)
    other = ManifestFile(path="x.json", size=1, sha256="0" * 64)
    mine = ManifestFile(path="m.gguf", size=len(DATA), sha256=SHA256)
    made = Manifest(v="bombyx-model/1", format="gguf", files=[mine, other])
    (tmp_path / MANIFEST_FILE).write_bytes(canonical.encode(made))
    assert is_model(path, manifest_digest(made))
    path.write_bytes(DATA + b"!")
    assert not is_model(path, manifest_digest(made))
    (tmp_path / MANIFEST_FILE).write_bytes(b"{}")
    assert not is_model(path, manifest_digest(made))
