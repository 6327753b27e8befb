"""Policies that have a name: what a policy file may start from, or be replaced by (SPEC 17.3).

A preset lists no image and no model, since nobody but the user knows which: by itself it judges raw
evidence, and of workers it says which rule they would break. A file that names one adds its lists.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from bombyx.attestation.policy_names import HARDWARE, PLATFORMS, TCB_STATUSES
from bombyx.attestation.policy_table import Table
from bombyx.errors import PolicyError

Rules = Mapping[str, Any]

_NO_PAGE_MOVES: Final = "0x2000000"
"""Bit 25 of an SNP guest's policy: the host may not move its pages (Heracles)."""
_ALIASES_CHECKED: Final = "0x20"
"""Bit 5 of an SNP platform: the firmware looked for aliased memory (BadRAM)."""

PRESETS: Final[Mapping[str, Rules]] = MappingProxyType(
    {
        "hardware-strict": {
            "network": "mainnet",
            "platforms": list(HARDWARE),
            "tdx": {"accepted_tcb": ["UpToDate"]},
            "snp": {
                "signing_keys": ["vcek"],
                "guest_policy": _NO_PAGE_MOVES,
                "platform_info": _ALIASES_CHECKED,
                "require_revocation": True,
            },
            "nvidia": {"require_firmware": True, "require_revocation": True},
        },
        "hardware": {
            "network": "mainnet",
            "platforms": list(HARDWARE),
            "tdx": {"accepted_tcb": ["UpToDate"]},
            "snp": {},
            "nvidia": {},
        },
        "development": {
            "network": "local",
            "platforms": list(PLATFORMS),
            "simulated": {"accepted_tcb": ["UpToDate"]},
            "tdx": {"accepted_tcb": list(TCB_STATUSES), "grace_seconds": 2**53 - 1},
            "snp": {"generations": ["milan", "genoa", "turin"]},
            "nvidia": {},
        },
    }
)
"""Tables as a policy file would hold them, without their version."""
_ON_HARDWARE: Final = ("hardware", "hardware-strict")


def expand(source: Mapping[str, Any]) -> dict[str, Any]:
    """A policy's table with what its `preset` says wherever it says nothing itself.

    Raises `PolicyError` for a preset that nobody knows, and for platforms that one never accepts.
    """
    own = dict(source)
    if "preset" not in own:
        return own
    name = Table(own).choice("preset", tuple(PRESETS))
    del own["preset"]
    whole = {key: _merged(PRESETS[name].get(key), value) for key, value in own.items()}
    whole = {**PRESETS[name], **whole}
    if name in _ON_HARDWARE:
        gateway = whole.get("gateway")
        _refuse_others(name, whole["platforms"])
        _refuse_others(name, gateway.get("platforms") if isinstance(gateway, Mapping) else None)
    return whole


def _merged(preset: Any, own: Any) -> Any:
    """One table key by key; anything else is the file's own."""
    both = isinstance(preset, Mapping) and isinstance(own, Mapping)
    return {**preset, **own} if both else own


def _refuse_others(name: str, platforms: Any) -> None:
    # What is no list of platforms is refused by the parser, with its own sentence.
    for one in PLATFORMS:
        if one not in HARDWARE and isinstance(platforms, list) and one in platforms:
            raise PolicyError(
                f"policy: platforms names `{one}`, which keeps nothing from the machine's owner; "
                f"the preset `{name}` never accepts it"
            )
