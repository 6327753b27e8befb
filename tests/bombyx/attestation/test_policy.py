import hashlib
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bombyx.attestation.policy import (
    PLATFORMS,
    TCB_STATUSES,
    ModelRules,
    Policy,
    parse_policy,
    policy_hash,
    render_policy,
)
from bombyx.attestation.policy_table import MAX_ENTRIES
from bombyx.errors import PolicyError
from tests.bombyx.attestation.world import POLICY, policy_table, simulated_rules

NAMES = st.text("abcXYZ019._:/@+-", min_size=1, max_size=20)


def hexes(size: int) -> st.SearchStrategy[list[str]]:
    return st.lists(st.binary(min_size=size, max_size=size).map(bytes.hex), max_size=3)


TABLES = st.fixed_dictionaries(
    {
        "version": st.just(1),
        "network": st.sampled_from(["local", "testnet"]),
        "platforms": st.lists(st.sampled_from(PLATFORMS)),
        "simulated": st.fixed_dictionaries(
            {
                "roots": hexes(32),
                "mr_td": hexes(48),
                "accepted_tcb": st.lists(st.sampled_from(TCB_STATUSES)),
            }
        ),
        "models": st.dictionaries(
            NAMES,
            st.fixed_dictionaries({"weights": hexes(32), "engines": hexes(32)}),
            max_size=3,
        ),
    },
    optional={"gateways": hexes(32), "channel_keys": hexes(32)},
)


@given(TABLES)
def test_a_rendered_policy_reads_as_the_same_policy(table: dict[str, Any]) -> None:
    policy = parse_policy(table)
    again = parse_policy(tomllib.loads(render_policy(policy)))
    assert again == policy
    assert policy_hash(again) == policy_hash(policy)


def test_order_and_repetition_do_not_change_a_policy() -> None:
    one = parse_policy(policy_table(platforms=["tdx", "simulated"]))
    other = parse_policy(policy_table(platforms=["simulated", "tdx", "simulated"]))
    assert one == other
    assert policy_hash(one) == policy_hash(other)


def test_an_empty_list_of_channel_keys_is_as_if_it_were_absent() -> None:
    silent, empty = parse_policy(policy_table()), parse_policy(policy_table(channel_keys=[]))
    assert silent == empty
    assert silent.channel_keys == ()
    paying = parse_policy(policy_table(channel_keys=["22" * 32, "11" * 32, "11" * 32]))
    assert paying.channel_keys == ("11" * 32, "22" * 32)
    assert policy_hash(paying) != policy_hash(silent)
    with pytest.raises(PolicyError, match="channel_keys must hold 32 bytes"):
        parse_policy(policy_table(channel_keys=["11"]))


def test_the_hash_of_a_policy_is_over_its_canonical_form() -> None:
    text = (
        b'{"models":[{"engines":["bb"],"name":"m","weights":["aa"]}],"network":"local",'
        b'"platforms":["simulated"],"simulated":{"accepted_tcb":[],"mr_td":[],"roots":[]},'
        b'"version":1}'
    )
    model = ModelRules(name="m", weights=("aa",), engines=("bb",))
    policy = Policy(version=1, network="local", platforms=("simulated",), models=(model,))
    assert policy_hash(policy) == hashlib.sha256(text).hexdigest()


@pytest.mark.parametrize(
    "changes",
    [
        {"network": "testnet"},
        {"platforms": []},
        {"gateways": []},
        {"simulated": simulated_rules(roots=[])},
        {"models": {}},
    ],
)
def test_every_rule_is_in_the_hash(changes: dict[str, Any]) -> None:
    assert policy_hash(parse_policy(policy_table(**changes))) != policy_hash(POLICY)


@pytest.mark.spec("17.3-a")
@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"version": 2}, "version must be 1"),
        ({"version": "1"}, "version must be an integer"),
        ({"version": True}, "version must be an integer"),
        ({"network": "moon"}, "network must be of local, testnet, mainnet"),
        ({"network": 1}, "network must be of"),
        ({"platforms": ["sgx"]}, "platforms must be of"),
        ({"platforms": "simulated"}, "platforms must be a list"),
        ({"platforms": ["tdx"] * (MAX_ENTRIES + 1)}, "platforms must be a list"),
        ({"gateways": ["AB" * 32]}, "gateways must hold 32 bytes"),
        ({"gateways": [1]}, "gateways must hold 32 bytes"),
        ({"allow_simulated": True}, "unknown key allow_simulated"),
        ({"simulated": simulated_rules(rots=[])}, "unknown key simulated.rots"),
        ({"simulated": simulated_rules(roots=["ab"])}, "simulated.roots must hold 32 bytes"),
        ({"simulated": simulated_rules(mr_td=["ab" * 32])}, "simulated.mr_td must hold 48"),
        ({"simulated": simulated_rules(accepted_tcb=["Revoked"])}, "simulated.accepted_tcb must"),
        ({"simulated": []}, "simulated must be a table"),
        ({"models": {"m": {"weight": []}}}, "unknown key models.m.weight"),
        ({"models": {"m": []}}, "models.m must be a table"),
        ({"models": {'m"]': {}}}, "models holds a name"),
        ({"models": {"": {}}}, "models holds a name"),
        ({"models": {1: {}}}, "models holds a name"),
        ({"models": {"m": {"engines": ["x"]}}}, "models.m.engines must hold"),
    ],
)
def test_a_wrong_key_is_named(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(PolicyError) as error:
        parse_policy(policy_table(**changes))
    assert complaint in error.value.message


PLATFORM_TABLES: dict[str, dict[str, Any]] = {
    "tdx": {
        "accepted_tcb": ["UpToDate", "OutOfDate"],
        "rejected_advisories": ["INTEL-SA-00615"],
        "grace_seconds": 86400,
        "min_evaluation": 18,
        "td_attributes": "0x10000000",
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
        "measurements": ["bb" * 48],
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
        "require_revocation": False,
    },
    "vtpm": {"keys": ["aa" * 32], "pcrs": {"0": [], "11": ["bb" * 32]}},
}


@pytest.mark.spec("17.3-a")
@pytest.mark.parametrize("name", PLATFORM_TABLES)
def test_a_platforms_table_reads_back_and_is_in_the_hash(name: str) -> None:
    for table in (PLATFORM_TABLES[name], {}):
        policy = parse_policy(policy_table(**{name: table}))
        again = parse_policy(tomllib.loads(render_policy(policy)))
        assert again == policy
        assert policy_hash(again) == policy_hash(policy) != policy_hash(POLICY)
    for key in PLATFORM_TABLES[name]:
        less = {other: value for other, value in PLATFORM_TABLES[name].items() if other != key}
        changed = parse_policy(policy_table(**{name: less}))
        whole = parse_policy(policy_table(**{name: PLATFORM_TABLES[name]}))
        same = (name, key) == ("nvidia", "require_revocation")
        assert (policy_hash(changed) == policy_hash(whole)) is same


@pytest.mark.spec("17.3-a")
@pytest.mark.parametrize(
    ("name", "table", "complaint"),
    [
        ("tdx", {"mrtd": []}, "unknown key tdx.mrtd"),
        ("tdx", {"accepted_tcb": ["Revoked"]}, "tdx.accepted_tcb must be of"),
        ("tdx", {"rejected_advisories": ["x y"]}, "tdx.rejected_advisories holds"),
        ("tdx", {"grace_seconds": -1}, "tdx.grace_seconds must be an integer"),
        ("tdx", {"grace_seconds": True}, "tdx.grace_seconds must be an integer"),
        ("tdx", {"td_attributes": 1}, "tdx.td_attributes must be bits"),
        ("tdx", {"xfam": "602e7"}, "tdx.xfam must be bits"),
        ("tdx", {"mr_td": ["aa" * 32]}, "tdx.mr_td holds"),
        ("snp", {"generations": ["naples"]}, "snp.generations must be of"),
        ("snp", {"min_tcb": {"snp": 256}}, "snp.min_tcb holds"),
        ("snp", {"min_tcb": {"spl": 1}}, "unknown key snp.min_tcb.spl"),
        ("snp", {"require_revocation": 1}, "snp.require_revocation must be true or false"),
        ("nvidia", {"min_driver": 550}, "nvidia.min_driver must be a string"),
        ("nvidia", {"min_driver": "new"}, "nvidia.min_driver must be a version"),
        ("nvidia", {"vbios": ["96"]}, "nvidia.vbios holds"),
        ("vtpm", {"pcrs": {"24": []}}, "unknown key vtpm.pcrs.24"),
        ("vtpm", {"keys": "x"}, "vtpm.keys must be a list"),
        ("vtpm", [], "vtpm must be a table"),
    ],
)
def test_a_wrong_key_of_a_platform_is_named(name: str, table: Any, complaint: str) -> None:
    with pytest.raises(PolicyError) as error:
        parse_policy(policy_table(**{name: table}))
    assert complaint in error.value.message


@pytest.mark.parametrize("key", ["version", "network"])
def test_a_required_key_is_missed_by_name(key: str) -> None:
    table = policy_table()
    del table[key]
    with pytest.raises(PolicyError, match=f"{key} is missing"):
        parse_policy(table)


@pytest.mark.spec("17.1-d")
def test_mainnet_cannot_name_the_simulated_platform() -> None:
    with pytest.raises(PolicyError, match="mainnet"):
        parse_policy(policy_table(network="mainnet"))
    with pytest.raises(PolicyError, match="mainnet"):
        parse_policy(policy_table(network="mainnet", platforms=["tdx", "simulated"]))
    assert parse_policy(policy_table(network="mainnet", platforms=["tdx"])).network == "mainnet"


@pytest.mark.spec("17.3-a")
def test_absent_lists_are_empty_and_allow_nothing() -> None:
    policy = parse_policy({"version": 1, "network": "local"})
    assert policy.platforms == ()
    assert policy.simulated.roots == ()
    assert policy.model("smol") is None


def test_an_absent_gateway_pin_allows_all_and_an_empty_one_none() -> None:
    key = "ab" * 32
    assert POLICY.allows_gateway(key)
    assert not parse_policy(policy_table(gateways=[])).allows_gateway(key)
    assert parse_policy(policy_table(gateways=[key])).allows_gateway(key)
    assert not parse_policy(policy_table(gateways=[key])).allows_gateway("cd" * 32)
