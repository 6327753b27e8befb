"""Policies that have a name, what they may be changed to, and what they are explained as."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from bombyx.attestation.explain import explain
from bombyx.attestation.policy import (
    PRESETS,
    Policy,
    named_policy,
    parse_policy,
    policy_hash,
    preset,
    render_policy,
)
from bombyx.errors import PolicyError
from tests.bombyx.attestation.test_policy import PLATFORM_TABLES
from tests.bombyx.attestation.world import HONEST, POLICY, examine_offer, failed, policy_table

HARDWARE = ("hardware", "hardware-strict")
ON_HARDWARE = ("sev-snp", "tdx")
DOCUMENT = Path(__file__).parents[3] / "docs/attestation.md"


def read(**table: Any) -> Policy:
    return parse_policy({"version": 1, **table})


@pytest.mark.spec("17.3-a")
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_whole_policy_with_a_hash_that_stays(name: str) -> None:
    policy = preset(name)
    assert named_policy(name) == policy
    again = parse_policy(tomllib.loads(render_policy(policy)))
    assert policy_hash(again) == policy_hash(policy) == HASHES[name]


HASHES = {
    "hardware-strict": "1d0b7cade63d5c74716ed324659d30fd0a14bab0f16ab45f5fb44c4d1710349f",
    "hardware": "aa3747a31a24ba719f447e5961ca01e8bd90c2b48509e38444ad3f5655a133c9",
    "development": "f6e22b249dcdfac0d65576bb7872aa268ed8baf0b57c83b1caefe9932da5d44e",
}
"""A policy's hash is in decisions that are kept for years: other rules need another name."""


def test_any_other_name_is_no_preset() -> None:
    assert named_policy("policy.toml") is None
    with pytest.raises(PolicyError, match="preset must be of hardware-strict"):
        preset("soft")


@pytest.mark.spec("17.3-b")
@pytest.mark.parametrize("name", HARDWARE)
@pytest.mark.parametrize("network", ["local", "testnet", "mainnet"])
@pytest.mark.parametrize("other", ["simulated", "vtpm"])
def test_no_file_talks_a_hardware_preset_into_another_platform(
    name: str, network: str, other: str
) -> None:
    assert preset(name).platforms == ON_HARDWARE
    with pytest.raises(PolicyError, match=f"`{other}`.*never accepts|mainnet"):
        read(preset=name, network=network, platforms=["tdx", other])
    with pytest.raises(PolicyError, match=f"`{other}`.*never accepts|mainnet"):
        read(preset=name, network=network, gateway={"platforms": [other]})
    assert read(preset=name, network=network, platforms=["tdx"]).platforms == ("tdx",)
    assert read(preset=name, gateway={"platforms": ["tdx"]}).gateway is not None


@pytest.mark.spec("17.3-b")
def test_a_file_adds_its_lists_to_a_preset_key_by_key() -> None:
    images = ["aa" * 48]
    policy = read(preset="hardware-strict", snp={"measurements": images}, tdx={"images": []})
    assert policy.snp is not None
    assert policy.tdx is not None
    assert policy.snp.require_revocation
    assert policy.snp.measurements == tuple(images)
    assert (policy.tdx.accepted_tcb, policy.tdx.images) == (("UpToDate",), ())


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({"preset": "hard"}, "preset must be of"),
        ({"preset": 1}, "preset must be of"),
        ({"preset": "hardware", "platforms": "tdx"}, "platforms must be a list"),
        ({"preset": "hardware", "gateway": []}, "gateway must be a table"),
        ({"preset": "hardware", "gateway": {"platforms": 1}}, "gateway.platforms must be a list"),
        ({"preset": "hardware", "snp": []}, "snp must be a table"),
        ({"preset": "development", "network": "mainnet"}, "mainnet"),
    ],
)
def test_a_preset_hides_no_mistake(table: dict[str, Any], complaint: str) -> None:
    with pytest.raises(PolicyError, match=complaint):
        read(**table)


@pytest.mark.spec("17.1-d", "17.3-b")
@pytest.mark.parametrize("name", HARDWARE)
def test_a_hardware_policy_refuses_a_simulated_worker_in_one_clear_sentence(name: str) -> None:
    examination = examine_offer(HONEST, policy=preset(name))
    assert failed(examination) == ["platform_allowed"]
    assert examination.refusal is not None
    assert examination.refusal.detail == (
        "the policy does not name the platform `simulated`: no hardware keeps what is sent there "
        "from its owner"
    )
    assert examination.refusal.code == "platform_not_allowed"


@pytest.mark.parametrize(
    ("table", "meant"),
    [
        ({"platfroms": []}, "platfroms; did you mean platforms?"),
        ({"gateway_s": []}, "gateway_s; did you mean gateways?"),
        ({"tdx": {"mrtd": []}}, "tdx.mrtd; did you mean tdx.mr_td?"),
        ({"snp": {"generation": []}}, "snp.generation; did you mean snp.generations?"),
        ({"models": {"m": {"weight": []}}}, "models.m.weight; did you mean models.m.weights?"),
        (
            {"snp": {"min_tcb": {"ucodes": 1}}},
            "snp.min_tcb.ucodes; did you mean snp.min_tcb.ucode?",
        ),
        ({"zzz": 1}, "unknown key zzz$"),
    ],
)
def test_a_misspelt_key_is_refused_with_the_one_that_was_meant(
    table: dict[str, Any], meant: str
) -> None:
    pattern = re.escape(meant).replace(re.escape("$"), "$")
    with pytest.raises(PolicyError, match=pattern):
        parse_policy({**policy_table(), **table})


def test_every_key_of_a_policy_is_documented() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, table in PLATFORM_TABLES.items():
        section = text.partition(f"| `[{name}]`")[2].partition("\n\n")[0]
        rows = " ".join(line.split("|")[1] for line in section.splitlines()[1:] if "|" in line)
        for key in table:
            spelt = {"rtmr1": "rtmr0` to `rtmr3", "rtmr2": "rtmr0` to `rtmr3"}.get(key, key)
            assert f"`{spelt}`" in rows, f"[{name}] {key}"
    whole = text.partition("## Rules of a policy")[2].partition("\n## ")[0]
    for key in (*policy_table(), "gateways", "gateway", "preset", "roots", "weights", "engines"):
        assert f"`{key}`" in whole or f"`[{key}]`" in whole or f'`[{key}."' in whole, key
    for name in PRESETS:
        assert f"`{name}`" in whole


def said(policy: Policy) -> tuple[str, str, str]:
    told = explain(policy)
    return "\n".join(told.passes), "\n".join(told.refused), "\n".join(told.unknown)


def test_what_passes_is_refused_and_stays_unknown_is_said_for_a_whole_policy() -> None:
    tables = {**PLATFORM_TABLES, "vtpm": {"keys": ["aa" * 32], "pcrs": {"11": ["bb" * 32]}}}
    names = ["sev-snp", "simulated", "tdx", "vtpm"]
    policy = parse_policy(policy_table(platforms=names, gateways=["aa" * 32], **tables))
    passes, refused, unknown = said(policy)
    for sentence in (
        "Intel TDX with patch level OutOfDate or UpToDate, out of date for 1 days at most.",
        "AMD SEV-SNP on genoa, its report signed by a VCEK.",
        "TDX images: the 1 listed ones.",
        "A vTPM with one of 1 listed keys and listed registers 11.",
        "Simulated workers under 1 listed roots: no hardware protects what they read.",
        "NVIDIA hopper, 8 GPUs.",
        "Gateways with one of 1 listed keys.",
        "The model smol with 1 listed weights and 1 listed engines.",
    ):
        assert sentence in passes
    for sentence in (
        "On every platform any machine that a debugger can look into",
        "TDX below Intel's evaluation number 18.",
        "TDX affected by INTEL-SA-00615.",
        "SEV-SNP of which bl is below 7.",
        "SEV-SNP on milan",
        "SEV-SNP whose platform lacks the bits 0x20.",
        "SEV-SNP without AMD's current revocation list.",
        "GPUs with a driver older than 550.90.07.",
        "GPUs whose device is none of 1 listed ones.",
        "GPUs without the vendor's references of their driver and VBIOS.",
    ):
        assert sentence in refused
    assert "Every" not in refused
    assert "What a gateway runs" in unknown
    proven = parse_policy(policy_table(gateway={"platforms": ["tdx"]}))
    assert "Gateways that prove themselves on tdx, listed likewise." in said(proven)[0]
    assert "What a gateway runs" not in said(proven)[2]
    none = parse_policy(policy_table(gateway={}))
    assert "Every gateway's evidence" in said(none)[1]
    assert "Whether NVIDIA revoked a GPU" in unknown
    assert unknown.endswith("no evidence can show it.")
    assert "Which physical machine" not in unknown


@pytest.mark.spec("17.3-a")
def test_empty_lists_are_said_to_allow_nothing() -> None:
    _, refused, unknown = said(read(network="local"))
    assert "Every worker: the policy names no platform." in refused
    assert "Every worker, whatever its platform: the policy lists no model." in refused
    assert "Which physical machine" not in unknown
    empty = parse_policy(policy_table(platforms=["tdx", "vtpm", "simulated"], simulated={},
                                      models={"m": {}}, tdx={"images": []},
                                      nvidia={"require_revocation": True}))  # fmt: skip
    _, refused, _ = said(empty)
    assert "Every TDX worker: the policy's list of images is empty." in refused
    assert "Every vTPM: the policy lists no key, or no register." in refused
    assert "Every simulated worker: the policy lists no root, image or patch level." in refused
    assert "The model m: the policy lists no weights, or no engines." in refused
    assert "GPUs without NVIDIA's current answers" in refused
    _, refused, unknown = said(preset("hardware"))
    assert "Workers on vtpm or simulated: the policy does not name the platform." in refused
    assert "Every SEV-SNP worker: the policy does not list a whole image." in refused
    assert "Whether AMD revoked" in unknown
    assert "however old" in said(preset("development"))[0]
    assert "nothing" in said(read(network="local", platforms=["tdx"], tdx={"accepted_tcb": []}))[0]
    assert policy_hash(POLICY) == policy_hash(parse_policy(policy_table()))
