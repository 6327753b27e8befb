"""`[gateway]` of a policy (SPEC 17.11): lists of its own, denied where absent, part of the hash."""

import tomllib
from typing import Any

import pytest

from bombyx.attestation.policy import parse_policy, policy_hash, render_policy
from bombyx.errors import PolicyError
from tests.bombyx.attestation import world
from tests.bombyx.attestation.ratls.minting import gateway_table, policy

REAL = gateway_table(
    platforms=["sev-snp", "simulated", "tdx", "vtpm"],
    tdx={"images": ["ab" * 32]},
    snp={"measurements": ["cd" * 48], "min_tcb": {"snp": 3}},
    vtpm={"pcrs": {"4": ["ef" * 32]}},
)


@pytest.mark.parametrize("table", [{}, gateway_table(), REAL])
def test_a_rendered_policy_is_read_as_the_same(table: dict[str, Any]) -> None:
    first = policy(table)
    again = parse_policy(tomllib.loads(render_policy(first)))
    assert again == first
    assert policy_hash(again) == policy_hash(first)


def test_the_table_changes_the_hash_and_its_absence_does_not() -> None:
    hashes = {policy_hash(one) for one in (world.POLICY, policy(), policy(REAL))}
    assert len(hashes) == 3


@pytest.mark.spec("17.11-e")
@pytest.mark.parametrize("table", [{"image": []}, {"nvidia": {}}, {"tdx": {"x": 1}}])
def test_an_unknown_key_is_refused(table: dict[str, Any]) -> None:
    with pytest.raises(PolicyError, match="unknown key gateway"):
        policy(table)


@pytest.mark.spec("17.11-e")
def test_a_policy_for_mainnet_cannot_name_simulated_gateways() -> None:
    with pytest.raises(PolicyError, match="simulated"):
        policy(network="mainnet", platforms=["tdx"])
