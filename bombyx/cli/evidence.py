"""`bombyx evidence`: what one file of raw evidence proves, offline (SPEC 17.4 to 17.9).

Exit codes: 0 accepted, 1 refused, 2 wrong usage.
"""

import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from bombyx.attestation.checklist import Verdict
from bombyx.attestation.cocoon import model_hash
from bombyx.attestation.nonce import REPORT_DATA_BYTES
from bombyx.attestation.nvidia.reference import Reference
from bombyx.attestation.policy import POLICY_VERSION, Policy, named_policy, parse_policy
from bombyx.attestation.raw import RawEvidence, examine_raw
from bombyx.attestation.raw_files import (
    MAX_CERTIFICATE_FILE_BYTES,
    MAX_COLLATERAL_BYTES,
    MAX_EVIDENCE_BYTES,
)
from bombyx.attestation.verity import BLOCK_BYTES, named_root, verity_root
from bombyx.cli.output import JsonOption, Output
from bombyx.cli.steps import step_line
from bombyx.client.opening import MAX_POLICY_BYTES
from bombyx.errors import PolicyError, SetupError, envelope

MAX_FILES = 128
"""Of one call: an OCSP answer for each certificate of 16 devices, and their references."""
MAX_COMMAND_LINE = 64 * 1024
"""Linux takes 4 KiB on most machines."""
_REFUSED = 1
_FILE = {"exists": True, "dir_okay": False, "readable": True}

evidence = typer.Typer(help="Examine raw evidence of machines, offline.", no_args_is_help=True)


@evidence.callback()
def _evidence() -> None:
    """Examine raw evidence of machines, offline."""


class Kind(StrEnum):
    """Whose evidence a file holds, or whose word about it."""

    TDX = "tdx"
    SNP = "snp"
    NVIDIA = "nvidia"
    NRAS = "nras"
    TRUST_AUTHORITY = "trust-authority"


@evidence.command()
def verify(
    *,
    kind: Annotated[Kind, typer.Option(help="Whose evidence it is.")],
    evidence_file: Annotated[
        Path, typer.Option("--evidence", help="The file to examine.", **_FILE)
    ],
    now: Annotated[int, typer.Option(min=0, max=2**40, help="The time to judge at, unix seconds.")],
    collateral: Annotated[
        list[Path] | None,
        typer.Option(
            help="What the vendor says: DCAP's texts, a CRL, a service's keys (JWKS); for nvidia "
            "RIMs, OCSP answers and files of `bombyx collateral export`, repeated at will.",
            **_FILE,
        ),
    ] = None,
    certs: Annotated[
        list[Path] | None, typer.Option(help="Certificates in DER or PEM; may repeat.", **_FILE)
    ] = None,
    nonce: Annotated[
        str | None, typer.Option(help="The nonce that it must be made for, in hex.")
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(help="What to accept, a file or a preset; without it the defaults count."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Verify one file of evidence, step by step; exits 1 if it is refused."""
    said = collateral or []
    if len(said) > (MAX_FILES if kind is Kind.NVIDIA else 1):
        raise typer.BadParameter("there are too many files", param_hint="--collateral")
    raw = RawEvidence(
        kind=kind.value,
        data=_read(evidence_file, MAX_EVIDENCE_BYTES),
        collateral=[_read(path, MAX_COLLATERAL_BYTES) for path in said],
        certificates=[_read(path, MAX_CERTIFICATE_FILE_BYTES) for path in certs or ()],
        nonce=None if nonce is None else _nonce(nonce),
    )
    accepted = _policy(policy)
    verdict = examine_raw(
        raw, policy=accepted, now=now, read_reference=lambda data: _reference(data, now)
    )
    Output(as_json=as_json).answer(_document(verdict), _table(kind.value, verdict))
    if not verdict.ok:
        raise typer.Exit(_REFUSED)


def _read(path: Path, most: int) -> bytes:
    """A file, or one byte more of it than may be: then it is refused by its length."""
    with path.open("rb") as file:
        return file.read(most + 1)


def _nonce(text: str) -> bytes:
    try:
        nonce = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise typer.BadParameter("the nonce must be hex", param_hint="--nonce") from None
    if not 0 < len(nonce) <= REPORT_DATA_BYTES:
        raise typer.BadParameter("the nonce must have 1 to 64 bytes", param_hint="--nonce")
    return nonce


def _policy(path: Path | None) -> Policy:
    """The policy in a file; raw evidence is of no network, so that the file need not name one."""
    if path is None:
        return Policy(version=POLICY_VERSION, network="mainnet")
    try:
        preset = named_policy(str(path))
        if preset is not None:
            return preset
        table = tomllib.loads(_read(path, MAX_POLICY_BYTES).decode("utf-8"))
        network = {} if "preset" in table else {"network": "mainnet"}
        return parse_policy({"version": POLICY_VERSION, **network, **table})
    except OSError as error:
        why = f"{path} cannot be read: {error.strerror}"
        raise typer.BadParameter(why, param_hint="--policy") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        raise typer.BadParameter(f"{path} is no TOML", param_hint="--policy") from None
    except PolicyError as error:
        raise typer.BadParameter(error.message, param_hint="--policy") from None


def _reference(data: bytes, now: int) -> Reference:
    try:
        from bombyx.attestation.nvidia.rim import parse_rim  # noqa: PLC0415 - it needs an extra
    except ModuleNotFoundError:
        raise SetupError("references need more: install 'bombyx[gpu-rim]'") from None
    return parse_rim(data, now=now)


def _document(verdict: Verdict) -> dict[str, Any]:
    document: dict[str, Any] = {
        "ok": verdict.ok,
        "steps": [
            {"name": str(one.name), "result": str(one.result), "detail": one.detail}
            for one in verdict.findings
        ],
        "claims": dict(verdict.claims),
    }
    return document if verdict.refusal is None else document | envelope(verdict.refusal)


def _table(kind: str, verdict: Verdict) -> str:
    result = "accepted" if verdict.refusal is None else f"REFUSED ({verdict.refusal.code})"
    lines = [f"{kind} evidence: {result}"]
    lines += [step_line(one) for one in verdict.findings]
    return "\n".join(lines)


@evidence.command("verity-root")
def root_of_image(
    *,
    image: Annotated[
        Path, typer.Option(help="A file system's image: the data, without its hash tree.", **_FILE)
    ],
    salt: Annotated[str, typer.Option(help="The salt, in hex, as `veritysetup` shows it.")] = "",
    model: Annotated[
        str | None, typer.Option(help="name@commit: also say what Cocoon calls such a model.")
    ] = None,
    command_line: Annotated[
        Path | None,
        typer.Option(help="A kernel's command line: must name exactly this root.", **_FILE),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """The dm-verity root of an image; exits 1 if the command line given names another, or none."""
    try:
        root = _root(image, bytes.fromhex(salt))
        named = None if model is None else model_hash(model, root.hex()).hex()
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    document: dict[str, Any] = {"root": root.hex()}
    lines = [f"root {root.hex()}"]
    if named is not None:
        document["model_hash"] = named
        lines.append(f"model hash {named}")
    is_named = True
    if command_line is not None:
        text = _read(command_line, MAX_COMMAND_LINE).decode("ascii", "replace")
        is_named = named_root(text.replace("\n", " ")) == root
        document["named"] = is_named
        lines.append(f"the command line {'names' if is_named else 'DOES NOT NAME'} it")
    Output(as_json=as_json).answer(document, *lines)
    if not is_named:
        raise typer.Exit(_REFUSED)


def _root(image: Path, salt: bytes) -> bytes:
    """Block by block: images are larger than memory."""
    with image.open("rb") as file:
        return verity_root(iter(lambda: file.read(BLOCK_BYTES), b""), salt=salt)
