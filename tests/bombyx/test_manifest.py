"""SPEC 1.8: a manifest names a model, file by file, in one form only."""

import hashlib

import pytest
import rfc8785
from msgspec import to_builtins

from bombyx import canonical
from bombyx.errors import NotCanonical
from bombyx.manifest import (
    Manifest,
    ManifestEngine,
    ManifestFile,
    differences,
    lone_gguf,
    manifest_digest,
)

A, B = "a" * 64, "b" * 64


def of(*files: ManifestFile) -> Manifest:
    return Manifest(v="bombyx-model/1", format="safetensors", files=list(files))


@pytest.mark.spec("1.8-a")
def test_the_digest_is_that_of_the_canonical_document() -> None:
    engine = ManifestEngine(name="sglang", version="0.5.23", flags={"dtype": "auto"})
    made = Manifest(
        v="bombyx-model/1",
        format="safetensors",
        files=[ManifestFile(path="a/b.json", size=1, sha256=A)],
        chat_template=B,
        engine=engine,
    )
    document = rfc8785.dumps(to_builtins(made))
    assert manifest_digest(made) == hashlib.sha256(document).hexdigest()
    assert canonical.decode(document, Manifest) == made


def test_every_member_changes_the_digest() -> None:
    one = of(ManifestFile(path="x", size=1, sha256=A))
    others = [
        of(ManifestFile(path="y", size=1, sha256=A)),
        of(ManifestFile(path="x", size=2, sha256=A)),
        of(ManifestFile(path="x", size=1, sha256=B)),
        lone_gguf("x", size=1, sha256=A),
    ]
    assert len({manifest_digest(made) for made in (one, *others)}) == 5


@pytest.mark.parametrize("path", ["../x", "/x", "a//b", "a/./b", "a/..", ".hidden", "", "a\\b"])
def test_a_path_that_could_leave_the_folder_is_refused(path: str) -> None:
    document = canonical.encode(
        {
            "files": [{"path": path, "sha256": A, "size": 1}],
            "format": "gguf",
            "v": "bombyx-model/1",
        }
    )
    with pytest.raises(NotCanonical):
        canonical.decode(document, Manifest)


def test_files_are_in_order_and_listed_once() -> None:
    first, second = (ManifestFile(path=path, size=1, sha256=A) for path in "ab")
    of(first, second)
    for wrong in ((second, first), (first, first)):
        with pytest.raises(ValueError, match="order"):
            of(*wrong)


def test_the_size_is_that_of_all_files() -> None:
    files = [ManifestFile(path=path, size=7, sha256=A) for path in "ab"]
    assert of(*files).size == 14


def test_each_difference_has_a_sentence_of_its_own() -> None:
    listed = [ManifestFile(path=path, size=1, sha256=A) for path in "abc"]
    found = [
        ManifestFile(path="b", size=2, sha256=A),
        ManifestFile(path="c", size=1, sha256=B),
        ManifestFile(path="d", size=1, sha256=A),
    ]
    assert differences(listed, found) == [
        "d: is not in the manifest",
        "a: is missing",
        "b: has 2 bytes, the manifest says 1",
        "c: has another SHA-256 than the manifest says",
    ]
    assert differences(listed, listed) == []
