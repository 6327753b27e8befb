"""Mutated evidence for every verifier; `python -m tests.vectors.make_evidence` writes it anew.

One honest simulated machine at a fixed time, and what differs in each case: documents, quote,
collateral, policy. The keys are drawn anew with each run (ECDSA draws its own randomness), so the
file is kept and never compared byte by byte: a test holds that Python comes to the result that
stands beside each case, and the JavaScript client's tests that it comes to the same.
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bombyx.attestation.collateral import Collateral, collateral_digest
from bombyx.attestation.evidence import Evidence, GpuEvidence
from bombyx.attestation.keyset import HpkeKey, Keyset, ModelRecord
from bombyx.attestation.policy import parse_policy
from bombyx.attestation.verify import examine
from bombyx.signing import Role, Signer
from tests.bombyx.attestation.world import (
    COLLATERAL,
    HONEST,
    KEYSET,
    NOW,
    PLATFORM,
    Offer,
    body,
    evidence_of,
    policy_table,
)
from tests.vectors import evidence_cases

FILE = Path(__file__).with_name("evidence.json")
VERIFIED = "verified"
QUOTE_STRIDE, TEXT_STRIDE = 11, 61
"""Prime to the layout: a sweep of all bytes would take the verifiers minutes."""
LONG = 256
_ROLES = (Role.RECEIPT, Role.LINK)
Fields = dict[str, Any]


@dataclass(frozen=True)
class Base:
    """The honest machine, as the file holds it."""

    keyset: Fields
    evidence: Fields
    collateral: dict[str, str]
    policy: Fields


def base_of(stored: Fields) -> Base:
    """The honest machine of a stored file."""
    return Base(*(stored[name] for name in ("keyset", "evidence", "collateral", "policy")))


def offer_of(base: Base, case: Fields) -> Offer:
    """The documents of a case: the base's, with what the case changes."""
    keyset, evidence = (
        _changed(getattr(base, name), case.get(name, {})) for name in ("keyset", "evidence")
    )
    texts = case.get("collateral", {})
    collateral = None if texts is None else Collateral(**_changed(base.collateral, texts))
    return Offer(_keyset(keyset), _evidence(evidence), collateral)


def _changed(honest: Fields, changes: Fields) -> Fields:
    """Fields with their changes; a long text names how much of its ends is the honest one's."""
    fields = {**honest, **changes}
    for name, change in changes.items():
        if isinstance(change, dict):
            head, tail = change["keep"]
            text = honest[name]
            fields[name] = text[:head] + change["put"] + text[len(text) - tail :]
    return fields


def _shortened(honest: Any, value: Any) -> Any:
    """A long text as its difference from the honest one."""
    if not (isinstance(honest, str) and isinstance(value, str) and len(value) > LONG):
        return value
    shortest = min(len(honest), len(value))
    head = next((at for at in range(shortest) if honest[at] != value[at]), shortest)
    rest = range(1, shortest - head + 1)
    tail = next((at - 1 for at in rest if honest[-at] != value[-at]), shortest - head)
    return {"keep": [head, tail], "put": value[head : len(value) - tail]}


def _keyset(fields: Fields) -> Keyset:
    # Not through the decoder: a case may be beyond the bounds of a document.
    hpke = [HpkeKey(**key) for key in fields["hpke"]]
    models = [ModelRecord(**model) for model in fields["models"]]
    return Keyset(**{**fields, "hpke": hpke, "models": models})


def _evidence(fields: Fields) -> Evidence:
    gpus = [GpuEvidence(**gpu) for gpu in fields["gpus"]]
    known = {key: value for key, value in fields.items() if value is not None}
    return Evidence(**{**known, "gpus": gpus})


def result_of(base: Base, case: Fields) -> str:
    """What the verification comes to: `verified`, or the step that fails."""
    policy = parse_policy({**base.policy, **case.get("policy", {})})
    it = offer_of(base, case)
    now = case.get("now", NOW)
    refusal = examine(it.keyset, it.evidence, it.collateral, policy=policy, now=now).refusal
    return VERIFIED if refusal is None else str(refusal.name)


def flipped_quote(base: Base, at: int, bit: int) -> Fields:
    """The case of one bit of the honest quote turned."""
    quote = bytearray(base64.b64decode(base.evidence["quote"]))
    quote[at] ^= 1 << bit
    return {"evidence": {"quote": base64.b64encode(quote).decode()}}


def altered_text(base: Base, field: str, at: int, to: str) -> Fields:
    """The case of one character of the collateral changed, under its right digest."""
    text = base.collateral[field]
    changed = {field: text[:at] + to + text[at + 1 :]}
    digest = collateral_digest(Collateral(**{**base.collateral, **changed}))
    return {"collateral": changed, "evidence": {"collateral": digest}}


def _other(character: str) -> str:
    """Another character of the same kind, so that the text stays one of its alphabet."""
    for alphabet in ("0123456789", "abcdef", "ABCDEF"):
        if character in alphabet:
            return alphabet[(alphabet.index(character) + 1) % len(alphabet)]
    return "A" if character != "A" else "B"


def _difference(base: Base, it: Offer) -> Fields:
    """What a case must say to become this offer."""
    case: Fields = {}
    for name, document in (("keyset", it.keyset), ("evidence", it.evidence)):
        honest, fields = getattr(base, name), msgspec.to_builtins(document)
        changed = {
            key: _shortened(honest.get(key), value)
            for key, value in fields.items()
            if honest.get(key) != value
        }
        changed |= {key: None for key in honest if key not in fields}
        case |= {name: changed} if changed else {}
    if it.collateral is None:
        return {**case, "collateral": None}
    texts = msgspec.to_builtins(it.collateral)
    changed = {
        key: _shortened(base.collateral[key], value)
        for key, value in texts.items()
        if base.collateral[key] != value
    }
    return {**case, "collateral": changed} if changed else case


def _cases(base: Base) -> Iterator[tuple[str, Fields]]:
    for name, it in evidence_cases.offers():
        yield name, _difference(base, it)
    yield from evidence_cases.policies()


def _sweeps(base: Base) -> Fields:
    quote = base64.b64decode(base.evidence["quote"])
    bits = [(at, at % 8) for at in range(0, len(quote), QUOTE_STRIDE)]
    places = [
        (field, at, _other(text[at]))
        for field, text in base.collateral.items()
        for at in range(hashlib.sha256(field.encode()).digest()[0] % 7, len(text), TEXT_STRIDE)
    ]
    return {
        "quote": [[*flip, result_of(base, flipped_quote(base, *flip))] for flip in bits],
        "collateral": [[*place, result_of(base, altered_text(base, *place))] for place in places],
    }


def talking_worker(collateral: Collateral) -> Fields:
    """A worker of the honest machine whose private seeds are known: tests can answer as it."""
    receipt, link = (Signer(role, bytes([number]) * 32) for number, role in enumerate(_ROLES, 1))
    keyset = msgspec.structs.replace(
        KEYSET, receipt_key=receipt.public_hex, link_key=link.public_hex
    )
    evidence = evidence_of(PLATFORM.quote(body(keyset)), collateral)
    return {
        "keyset": msgspec.to_builtins(keyset),
        "evidence": msgspec.to_builtins(evidence),
        "receipt_seed": "01" * 32,
        "link_seed": "02" * 32,
        "hpke_seeds": (bytes(range(64)) + bytes(range(32))).hex(),
    }


def build() -> Fields:
    """The whole file."""
    it = COLLATERAL
    base = Base(
        keyset=msgspec.to_builtins(HONEST.keyset),
        evidence=msgspec.to_builtins(evidence_of(base64.b64decode(HONEST.evidence.quote), it)),
        collateral=msgspec.to_builtins(it),
        policy=policy_table(),
    )
    cases = [
        {"name": name, "expected": result_of(base, case), **case} for name, case in _cases(base)
    ]
    return {
        "about": "Each case changes the honest documents; null takes a field away, and keep [a, b] "
        "puts a text between the first a and the last b characters of the honest one. "
        "A sweep's line is [byte, bit, result] or [field, character, its new value, result].",
        "now": NOW,
        "keyset": base.keyset,
        "evidence": base.evidence,
        "collateral": base.collateral,
        "policy": base.policy,
        "worker": talking_worker(it),
        "cases": cases,
        "sweeps": _sweeps(base),
    }


def load() -> Fields:
    """What is stored now."""
    stored: Fields = msgspec.json.decode(FILE.read_bytes())
    return stored


def main() -> None:
    """Write the file anew."""
    sections = build()
    lines = [f'"{key}": {_laid_out(value)}' for key, value in sections.items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


def _laid_out(value: Any) -> str:
    """One case a line, so that a difference can be read."""
    if isinstance(value, list):
        return "[\n " + ",\n ".join(json.dumps(item) for item in value) + "\n]"
    if isinstance(value, dict) and all(isinstance(item, list) for item in value.values()):
        return "{" + ",\n".join(f'"{key}": {_laid_out(item)}' for key, item in value.items()) + "}"
    return json.dumps(value)


if __name__ == "__main__":
    main()
