"""`bombyx models`: fetch models, list them, name them by digest, hold them to their manifest."""

from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import UNSET, UnsetType, ValidationError, convert, to_builtins

from bombyx.cli.output import JsonOption, Output
from bombyx.control.asking import LOAD_SECONDS, give
from bombyx.control.wire import Order
from bombyx.errors import SetupError
from bombyx.manifest import MANIFEST_FILE, Manifest, ManifestEngine, manifest_digest
from bombyx.settings import load_settings, state_directory
from worker.control.command import StateOption, lines
from worker.models.hub import Commit
from worker.models.identity import model_manifest
from worker.models.manifests import (
    build_manifest,
    listed_files,
    read_manifest,
    verify_model,
    write_manifest,
)
from worker.models.progress import reporting
from worker.models.pull import (
    PACKAGED,
    Pulled,
    Reporter,
    pull_commit,
    pull_local,
    pull_packaged,
    storing,
)
from worker.models.store import Listed, find_model, list_models, store_folder
from worker.settings import WorkerSettings

models = typer.Typer(help="Fetch, name and check the models to serve.", no_args_is_help=True)

_Store = Annotated[Path | None, typer.Option("--models", help="The model store.")]
_Config = Annotated[Path | None, typer.Option(help="The settings file to read.")]
_MIB = 2**20


@models.callback()
def _models() -> None:
    """Fetch, name and check the models to serve."""


@models.command()
def pull(
    source: Annotated[str, typer.Argument(help="smollm2, OWNER/NAME on the hub, or a path.")],
    *,
    revision: Annotated[str | None, typer.Option(help="The commit, 40 hex digits.")] = None,
    file: Annotated[str | None, typer.Option(help="Which GGUF file of the repository.")] = None,
    name: Annotated[str | None, typer.Option(help="What the store calls it.")] = None,
    store: _Store = None,
    hub: Annotated[str | None, typer.Option(help="URL of the hub or a mirror.")] = None,
    config: _Config = None,
    as_json: JsonOption = False,
) -> None:
    """Bring a model into the store; an interrupted download goes on where it stopped."""
    settings = _settings(config, store, hub)
    folder = store_folder(settings.models)
    output = Output(as_json=as_json)
    path = Path(source).expanduser()
    with reporting(output) as report, storing(folder):
        if source == PACKAGED:
            pulled = pull_packaged(folder, name=name, report=report)
        elif path.exists():
            pulled = pull_local(path.absolute(), folder, name=name, report=report)
        else:
            commit = Commit.named(settings.hub, source, revision or "")
            pulled = _pull_commit(commit, folder, settings, file=file, name=name, report=report)
    document = {"path": str(pulled.path), **_document(pulled.manifest)}
    output.answer(document, f"{pulled.path}\nweights {document['digest']}")


def _pull_commit(
    commit: Commit,
    folder: Path,
    settings: WorkerSettings,
    *,
    file: str | None,
    name: str | None,
    report: Reporter,
) -> Pulled:
    secret = settings.hub_token
    token = secret.get_secret_value() if secret else ""
    return pull_commit(commit, folder, token=token, gguf=file, name=name, report=report)


@models.command("list")
def list_(*, store: _Store = None, config: _Config = None, as_json: JsonOption = False) -> None:
    """The models of the store; digests may be remembered ones, `verify` reads every byte."""
    folder = store_folder(_settings(config, store).models)
    found = list_models(folder)
    document = {"store": str(folder), "models": [one.document() for one in found]}
    shown = [_line(one) for one in found] or [f"no model in {folder}"]
    Output(as_json=as_json).answer(document, *shown)


def _line(one: Listed) -> str:
    if one.manifest is None:
        return f"{one.name}: REFUSED: {one.problem}"
    size = f"{one.manifest.size / _MIB:.0f} MiB"
    commit = f" at {one.source.revision}" if one.source.revision else ""
    kind = one.manifest.format
    return f"{one.name}: {kind}, {size}{commit}, weights {manifest_digest(one.manifest)}"


@models.command()
def manifest(
    model: Annotated[str, typer.Argument(help="A folder, a GGUF file, or a name of the store.")],
    *,
    engine: Annotated[str | None, typer.Option(help="Bind the engine that it is for.")] = None,
    engine_version: Annotated[str | None, typer.Option(help="And its version.")] = None,
    flag: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of it; repeatable.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Keep it beside the files.")] = False,
    store: _Store = None,
    config: _Config = None,
    as_json: JsonOption = False,
) -> None:
    """Read every byte of a model and name it: the digest is the keyset's `weights`."""
    path = find_model(store_folder(_settings(config, store).models), model)
    binding = _engine(engine, engine_version, flag or [])
    output = Output(as_json=as_json)
    with reporting(output) as report:
        total = sum(one.stat().st_size for one in listed_files(path).values())
        advance = report.begin(f"hashing {path.name}", total)
        stored = path / MANIFEST_FILE if path.is_dir() else None
        if binding is UNSET and not write and stored is not None and stored.is_file():
            made = model_manifest(path, advance=advance)
        else:
            made = build_manifest(path, engine=binding, advance=advance)
    if write:
        if not path.is_dir():
            raise SetupError("--write keeps the manifest in the model's folder; name a folder")
        write_manifest(path, made)
    lines = [f"{one.sha256}  {one.size:>14}  {one.path}" for one in made.files]
    output.answer(_document(made), *lines, f"weights {manifest_digest(made)}")


@models.command()
def verify(
    model: Annotated[str, typer.Argument(help="A folder, a GGUF file, or a name of the store.")],
    *,
    against: Annotated[
        Path | None, typer.Option("--manifest", help="A manifest; else the one beside it.")
    ] = None,
    digest: Annotated[str | None, typer.Option(help="The `weights` that it must have.")] = None,
    store: _Store = None,
    config: _Config = None,
    as_json: JsonOption = False,
) -> None:
    """Hold every byte of a model against its manifest, or against a digest."""
    path = find_model(store_folder(_settings(config, store).models), model)
    file = against or (path / MANIFEST_FILE if path.is_dir() else None)
    wanted = read_manifest(file) if file is not None else None
    if wanted is None and (digest is None or against is not None):
        raise SetupError("there is no manifest: name one with --manifest, or a --digest")
    output = Output(as_json=as_json)
    with reporting(output) as report:
        total = sum(one.stat().st_size for one in listed_files(path).values())
        advance = report.begin(f"checking {path.name}", total)
        if wanted is None:
            wanted = build_manifest(path, advance=advance)
        else:
            verify_model(path, wanted, advance)
    if digest is not None and manifest_digest(wanted) != digest:
        raise SetupError(f"{path} has weights {manifest_digest(wanted)}, not {digest}")
    document = {"ok": True, "path": str(path), **_document(wanted)}
    output.answer(document, f"every file is what the manifest says: weights {document['digest']}")


@models.command()
def load(
    model: Annotated[str, typer.Argument(help="NAME=PATH, a path, or a name of the store.")],
    *,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve one more model on a running worker; what it answers just now goes on."""
    output = Output(as_json=as_json)
    folder = state_directory(state)
    give(folder, Order("status"))  # first of all: is there anybody to wait for
    output.say("the worker reads and loads the model; its log tells how far it is")
    told = give(folder, Order("load", _absolute(model)), seconds=LOAD_SECONDS)
    output.answer(told, *lines(told))


@models.command()
def unload(
    model: Annotated[str, typer.Argument(help="The name that it is served under.")],
    *,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve a model no longer; its engine ends with the last of its answers."""
    told = give(state_directory(state), Order("unload", model), seconds=LOAD_SECONDS)
    Output(as_json=as_json).answer(told, *lines(told))


def _absolute(text: str) -> str:
    """A path is this shell's, which the worker does not share."""
    name, separator, path = text.rpartition("=")
    found = Path(path).expanduser()
    return f"{name}{separator}{found.absolute()}" if found.exists() else text


def _settings(config: Path | None, store: Path | None, hub: str | None = None) -> WorkerSettings:
    settings, _ = load_settings(
        WorkerSettings, "worker", {"models": store, "hub": hub}, config=config
    )
    return settings


def _engine(name: str | None, version: str | None, flags: list[str]) -> ManifestEngine | UnsetType:
    if name is None:
        if version or flags:
            raise SetupError("--engine-version and --flag belong to an --engine")
        return UNSET
    given: dict[str, Any] = {"name": name}
    if version:
        given["version"] = version
    if flags:
        given["flags"] = dict(_flag(one) for one in flags)
    try:
        return convert(given, ManifestEngine)
    except ValidationError as error:
        raise SetupError(f"the engine cannot be bound so: {error}") from None


def _flag(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise SetupError("a --flag is NAME=VALUE")
    return name.removeprefix("--").replace("-", "_"), value


def _document(made: Manifest) -> dict[str, Any]:
    return {
        "digest": manifest_digest(made),
        "format": made.format,
        "size": made.size,
        "manifest": to_builtins(made),
    }
