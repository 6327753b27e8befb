"""Reads the tables of a policy about real platforms, and writes them back (SPEC 17.3)."""

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from bombyx.attestation.nvidia.versions import parse_version
from bombyx.attestation.platform_rules import (
    ARCHITECTURES,
    GENERATIONS,
    MAX_PCR,
    SIGNING_KEYS,
    TCB_PARTS,
    NvidiaPolicy,
    Rules,
    SimulatedRules,
    SnpPolicy,
    TdxPolicy,
    VtpmPolicy,
)
from bombyx.attestation.policy_names import TCB_STATUSES
from bombyx.attestation.policy_table import Table
from bombyx.errors import PolicyError

_ADVISORY = re.compile(r"[A-Z0-9-]{1,64}")
_VBIOS = re.compile(r"[0-9A-F]{2}(\.[0-9A-F]{2}){4}")
_MASKS: Final = ("td_attributes", "xfam", "guest_policy", "platform_info")
_TABLES: Final = ("min_tcb", "pcrs")
_REGISTERS: Final = ("mr_seam", "mr_td", "rtmr0", "rtmr1", "rtmr2", "rtmr3")
_MAX_SPL = 255
_DIGEST, _MEASUREMENT, _CONFIG, _PLATFORM, _CHIP = 32, 48, 144, 16, 64


def parse_simulated(table: Table) -> SimulatedRules:
    """The table `[simulated]`; raises `PolicyError`."""
    rules = SimulatedRules(
        roots=table.hexes("roots", _DIGEST),
        mr_td=table.hexes("mr_td", _MEASUREMENT),
        accepted_tcb=table.choices("accepted_tcb", TCB_STATUSES),
    )
    table.finish()
    return rules


def parse_tdx(table: Table) -> TdxPolicy:
    """The table `[tdx]`; raises `PolicyError`."""
    base = TdxPolicy()
    accepted = table.choices("accepted_tcb", TCB_STATUSES)
    rules = TdxPolicy(
        accepted_tcb=accepted if table.has("accepted_tcb") else base.accepted_tcb,
        rejected_advisories=table.texts("rejected_advisories", _ADVISORY),
        grace_seconds=table.count("grace_seconds", base.grace_seconds),
        min_evaluation=table.count("min_evaluation", base.min_evaluation),
        td_attributes=table.bits("td_attributes", base.td_attributes),
        xfam=table.bits("xfam", base.xfam),
        images=table.listed("images", _DIGEST),
        mr_config=table.listed("mr_config", _CONFIG),
        platforms=table.listed("platforms", _PLATFORM),
        **{name: table.listed(name, _MEASUREMENT) for name in _REGISTERS},
    )
    table.finish()
    return rules


def parse_snp(table: Table) -> SnpPolicy:
    """The table `[snp]`; raises `PolicyError`."""
    base = SnpPolicy()
    generations = table.choices("generations", GENERATIONS)
    keys = table.choices("signing_keys", SIGNING_KEYS)
    rules = SnpPolicy(
        generations=generations if table.has("generations") else base.generations,
        signing_keys=keys if table.has("signing_keys") else base.signing_keys,
        min_tcb=_floor(table.table("min_tcb")),
        guest_policy=table.bits("guest_policy", base.guest_policy),
        platform_info=table.bits("platform_info", base.platform_info),
        max_vmpl=table.count("max_vmpl", base.max_vmpl),
        require_revocation=table.flag("require_revocation", default=base.require_revocation),
        measurements=table.listed("measurements", _MEASUREMENT),
        host_data=table.listed("host_data", _DIGEST),
        id_keys=table.listed("id_keys", _MEASUREMENT),
        platforms=table.listed("platforms", _CHIP),
    )
    table.finish()
    return rules


def _floor(table: Table) -> tuple[tuple[str, int], ...]:
    floor = tuple((part, table.count(part, 0)) for part in sorted(TCB_PARTS) if table.has(part))
    table.finish()
    if any(value > _MAX_SPL for _, value in floor):
        raise PolicyError("policy: snp.min_tcb holds numbers of one byte")
    return floor


def parse_nvidia(table: Table) -> NvidiaPolicy:
    """The table `[nvidia]`; raises `PolicyError`."""
    base = NvidiaPolicy()
    architectures = table.choices("architectures", ARCHITECTURES)
    rules = NvidiaPolicy(
        architectures=architectures if table.has("architectures") else base.architectures,
        count=table.count("count", 0) if table.has("count") else None,
        min_driver=_version(table) if table.has("min_driver") else None,
        vbios=table.texts("vbios", _VBIOS) if table.has("vbios") else None,
        devices=table.listed("devices", _DIGEST),
        require_firmware=table.flag("require_firmware", default=base.require_firmware),
        require_revocation=table.flag("require_revocation", default=base.require_revocation),
    )
    table.finish()
    return rules


def _version(table: Table) -> str:
    text = table.text("min_driver")
    try:
        parse_version(text)
    except ValueError:
        raise PolicyError("policy: nvidia.min_driver must be a version like 550.90.07") from None
    return text


def parse_vtpm(table: Table) -> VtpmPolicy:
    """The table `[vtpm]`; raises `PolicyError`."""
    rules = VtpmPolicy(keys=table.hexes("keys", _DIGEST), pcrs=_pcrs(table.table("pcrs")))
    table.finish()
    return rules


def _pcrs(table: Table) -> tuple[tuple[int, tuple[str, ...]], ...]:
    numbers = range(MAX_PCR + 1)
    found = tuple(
        (number, table.hexes(str(number), _DIGEST)) for number in numbers if table.has(str(number))
    )
    table.finish()
    return found


def describe(rules: Rules) -> dict[str, Any]:
    """Rules as their table holds them: bits in hex, pairs as tables, nothing that nobody asks."""
    pairs = ((one.name, getattr(rules, one.name)) for one in fields(rules))
    return {name: _described(name, value) for name, value in pairs if value is not None}


def _described(name: str, value: Any) -> Any:
    if name in _MASKS:
        return f"{value:#x}"
    if name in _TABLES:
        return {str(key): _plain(item) for key, item in value}
    return _plain(value)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def render_platform(name: str, rules: Rules) -> list[str]:
    """The table as lines of TOML."""
    described = describe(rules)
    inner = {key: described.pop(key) for key in _TABLES if key in described}
    lines = ["", f"[{name}]", *_pairs(described)]
    for key, table in inner.items():
        lines += ["", f"[{name}.{key}]", *_pairs(table)] if table else []
    return lines


def _pairs(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in table.items()]


def _toml(value: Any) -> str:
    # Every string that a policy can hold is of letters, digits and `._:/@+-`: nothing to escape.
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
