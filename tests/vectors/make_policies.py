"""Policies and the hashes that every implementation must give them: `policies.json` (SPEC 17.3).

`python -m tests.vectors.make_policies` writes the file; a test holds it equal to the code.
"""

import json
from pathlib import Path
from typing import Any

from bombyx.attestation.policy import PRESETS, parse_policy, policy_hash
from bombyx.errors import PolicyError

PATH = Path(__file__).with_name("policies.json")
TABLES: dict[str, dict[str, Any]] = {
    "tdx": {
        "accepted_tcb": ["UpToDate", "OutOfDate"],
        "rejected_advisories": ["INTEL-SA-00615"],
        "grace_seconds": 86400,
        "min_evaluation": 18,
        "td_attributes": "0x010000000",
        "xfam": "0x602e7",
        "images": ["aa" * 32],
        "mr_config": ["00" * 144],
        "platforms": ["cc" * 16],
        **{name: ["bb" * 48] for name in ("mr_seam", "mr_td", "rtmr0", "rtmr1", "rtmr2")},
        "rtmr3": [],
    },
    "snp": {
        "generations": ["genoa"],
        "signing_keys": ["vcek"],
        "min_tcb": {"snp": 22, "bl": 7},
        "guest_policy": "0x2000000",
        "platform_info": "0x20",
        "max_vmpl": 1,
        "require_revocation": True,
        "measurements": ["cc" * 48, "bb" * 48],
        "host_data": ["aa" * 32],
        "id_keys": [],
        "platforms": ["cc" * 64],
    },
    "nvidia": {
        "architectures": ["hopper"],
        "count": 8,
        "min_driver": "550.90.07",
        "vbios": ["96.00.A5.00.01"],
        "devices": ["aa" * 32],
        "require_firmware": True,
        "require_revocation": True,
    },
    "vtpm": {"keys": ["aa" * 32], "pcrs": {"0": [], "11": ["bb" * 32]}},
}
GATEWAY = {"platforms": ["tdx"], "tdx": {"images": ["dd" * 32]}, "snp": {}, "vtpm": {}}
MODELS = {"m": {"weights": ["ee" * 32], "engines": ["ff" * 32]}}
LOCAL = {"version": 1, "network": "local"}
ACCEPTED: list[Any] = [
    *({"version": 1, "preset": name} for name in PRESETS),
    {"version": 1, "preset": "hardware", "snp": {"measurements": ["aa" * 48]}, "models": MODELS},
    {
        "version": 1,
        "preset": "hardware-strict",
        "snp": {"platform_info": "0x0"},
        "network": "local",
    },
    {"version": 1, "preset": "development", "simulated": {"roots": ["aa" * 32]}},
    *({**LOCAL, name: table} for name, table in TABLES.items()),
    *({**LOCAL, name: {}} for name in TABLES),
    {**LOCAL, "gateway": GATEWAY},
    {**LOCAL, "gateway": {}},
    {**LOCAL, **TABLES, "gateway": GATEWAY, "gateways": [], "models": MODELS},
]
REFUSED: list[Any] = [
    {"version": 1, "preset": "soft"},
    {"version": 1, "preset": "hardware", "platforms": ["simulated"]},
    {"version": 1, "preset": "hardware", "gateway": {"platforms": ["vtpm"]}},
    {"version": 1, "preset": "hardware-strict", "platforms": ["tdx", "vtpm"]},
    {"version": 1, "network": "mainnet", "gateway": {"platforms": ["simulated"]}},
    {**LOCAL, "tdx": {"mrtd": []}},
    {**LOCAL, "tdx": {"grace_seconds": -1}},
    {**LOCAL, "tdx": {"xfam": "602e7"}},
    {**LOCAL, "tdx": {"mr_td": ["aa" * 32]}},
    {**LOCAL, "tdx": {"rejected_advisories": ["x y"]}},
    {**LOCAL, "snp": {"min_tcb": {"snp": 256}}},
    {**LOCAL, "snp": {"min_tcb": {"spl": 1}}},
    {**LOCAL, "snp": {"generations": ["rome"]}},
    {**LOCAL, "snp": {"require_revocation": 1}},
    {**LOCAL, "nvidia": {"min_driver": 550}},
    {**LOCAL, "nvidia": {"min_driver": "new"}},
    {**LOCAL, "nvidia": {"vbios": ["96"]}},
    {**LOCAL, "vtpm": {"pcrs": {"24": []}}},
    {**LOCAL, "vtpm": []},
    {**LOCAL, "gateway": {"nvidia": {}}},
    {**LOCAL, "gateway": {"models": {}}},
]


def vectors() -> dict[str, Any]:
    """What the file holds."""
    accepted = [{"table": one, "hash": policy_hash(parse_policy(one))} for one in ACCEPTED]
    return {"accepted": accepted, "refused": [_refused(one) for one in REFUSED]}


def _refused(table: dict[str, Any]) -> dict[str, Any]:
    try:
        parse_policy(table)
    except PolicyError as error:
        # The key is everybody's, the rest of the sentence an implementation's own.
        words = error.message.removeprefix("policy: unknown key ").removeprefix("policy: ").split()
        return {"table": table, "names": words[0].rstrip(";")}
    raise AssertionError(table)


if __name__ == "__main__":
    PATH.write_text(json.dumps(vectors(), indent=1) + "\n")
