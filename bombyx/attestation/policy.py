"""What a verifier accepts: one frozen value, read from a table and hashed (SPEC 17).

There is no default that allows: an empty or absent list denies all, an unknown key is refused
with its name, and a network on mainnet cannot name the simulated platform.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from bombyx import canonical
from bombyx.attestation.gateway_rules import (
    GatewayRules,
    describe_gateway,
    parse_gateway,
    render_gateway,
)
from bombyx.attestation.platform_rules import (
    NO_SIMULATION,
    NvidiaPolicy,
    Rules,
    SimulatedRules,
    SnpPolicy,
    TdxPolicy,
    VtpmPolicy,
)
from bombyx.attestation.platform_tables import (
    describe,
    parse_nvidia,
    parse_simulated,
    parse_snp,
    parse_tdx,
    parse_vtpm,
    render_platform,
)
from bombyx.attestation.policy_names import NETWORKS, PLATFORMS, SIMULATED, TCB_STATUSES
from bombyx.attestation.policy_table import Table
from bombyx.attestation.presets import PRESETS, expand
from bombyx.errors import PolicyError

__all__ = [
    "NETWORKS",
    "PLATFORMS",
    "POLICY_VERSION",
    "PRESETS",
    "SIMULATED",
    "TCB_STATUSES",
    "ModelRules",
    "Policy",
    "SimulatedRules",
    "named_policy",
    "parse_policy",
    "policy_hash",
    "preset",
    "render_policy",
]

POLICY_VERSION: Final = 1
_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class ModelRules:
    """Which weights and engines may answer under a model's name (hex digests)."""

    name: str
    weights: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """What one verifier accepts; lists are sorted, so that equal rules are equal policies.

    `gateways` pins gateway identity keys; None pins none, an empty tuple allows none. The rules of
    a real platform are None where the file has no table for it: then its defaults count. `gateway`
    says which gateways prove themselves (SPEC 17.11); None is no gateway. `channel_keys` are the
    channel keys of gateways that may be paid (SPEC 7.8): without any, no channel is opened.
    """

    version: int
    network: str
    platforms: tuple[str, ...] = ()
    gateways: tuple[str, ...] | None = None
    channel_keys: tuple[str, ...] = ()
    simulated: SimulatedRules = NO_SIMULATION
    models: tuple[ModelRules, ...] = ()
    tdx: TdxPolicy | None = None
    snp: SnpPolicy | None = None
    nvidia: NvidiaPolicy | None = None
    vtpm: VtpmPolicy | None = None
    gateway: GatewayRules | None = None

    def model(self, name: str) -> ModelRules | None:
        """The rules for a model's name, or None: not allowed."""
        return next((rules for rules in self.models if rules.name == name), None)

    def allows_gateway(self, key: str) -> bool:
        """Whether a gateway identity key (hex) is within the pin."""
        return self.gateways is None or key in self.gateways


def parse_policy(source: Mapping[str, Any]) -> Policy:
    """Read a policy from a table, as `tomllib` gives it; `preset` fills in what it leaves out.

    Raises `PolicyError` naming the key for anything unknown, missing, misspelt or contradictory.
    """
    table = Table(expand(source))
    if table.integer("version") != POLICY_VERSION:
        raise PolicyError(f"policy: version must be {POLICY_VERSION}")
    policy = Policy(
        version=POLICY_VERSION,
        network=table.choice("network", NETWORKS),
        platforms=table.choices("platforms", PLATFORMS),
        gateways=table.hexes("gateways", _DIGEST_BYTES) if table.has("gateways") else None,
        channel_keys=table.hexes("channel_keys", _DIGEST_BYTES),
        simulated=parse_simulated(table.table("simulated")),
        models=_models(table.table("models")),
        tdx=parse_tdx(table.table("tdx")) if table.has("tdx") else None,
        snp=parse_snp(table.table("snp")) if table.has("snp") else None,
        nvidia=parse_nvidia(table.table("nvidia")) if table.has("nvidia") else None,
        vtpm=parse_vtpm(table.table("vtpm")) if table.has("vtpm") else None,
        gateway=parse_gateway(table.table("gateway")) if table.has("gateway") else None,
    )
    table.finish()
    _refuse_simulation_of_money(policy)
    return policy


def preset(name: str) -> Policy:
    """The preset of a name; raises `PolicyError` for one that nobody knows."""
    return parse_policy({"version": POLICY_VERSION, "preset": name})


def named_policy(name: str) -> Policy | None:
    """The preset of a name, which may stand wherever a policy file does; None for other names."""
    return preset(name) if name in PRESETS else None


def _models(table: Table) -> tuple[ModelRules, ...]:
    return tuple(_model(name, table.table(name)) for name in table.names())


def _model(name: str, table: Table) -> ModelRules:
    rules = ModelRules(
        name=name,
        weights=table.hexes("weights", _DIGEST_BYTES),
        engines=table.hexes("engines", _DIGEST_BYTES),
    )
    table.finish()
    return rules


def _refuse_simulation_of_money(policy: Policy) -> None:
    named = policy.platforms + (policy.gateway.platforms if policy.gateway else ())
    if policy.network == "mainnet" and SIMULATED in named:
        raise PolicyError(
            "policy: platforms names `simulated`, which protects nothing; a network on mainnet "
            "cannot accept it"
        )


def policy_hash(policy: Policy) -> str:
    """Hex SHA-256 of the policy's canonical form; what the file leaves out is left out."""
    fields = {key: value for key, value in asdict(policy).items() if value is not None}
    if not policy.channel_keys:
        del fields["channel_keys"]
    for name, rules in _platforms(policy):
        fields[name] = describe(rules)
    if policy.gateway is not None:
        fields["gateway"] = describe_gateway(policy.gateway)
    return canonical.digest(fields).hex()


def _platforms(policy: Policy) -> list[tuple[str, Rules]]:
    """The rules for real platforms that the policy has, by the name of their table."""
    tables = {"tdx": policy.tdx, "snp": policy.snp, "nvidia": policy.nvidia, "vtpm": policy.vtpm}
    return [(name, rules) for name, rules in tables.items() if rules is not None]


def render_policy(policy: Policy) -> str:
    """The policy as TOML; `parse_policy` of it gives an equal policy."""
    lines = [f"version = {policy.version}", _pair("network", policy.network)]
    lines.append(_pair("platforms", policy.platforms))
    if policy.gateways is not None:
        lines.append(_pair("gateways", policy.gateways))
    if policy.channel_keys:
        lines.append(_pair("channel_keys", policy.channel_keys))
    rules = policy.simulated
    lines += ["", "[simulated]", _pair("roots", rules.roots), _pair("mr_td", rules.mr_td)]
    lines.append(_pair("accepted_tcb", rules.accepted_tcb))
    for name, platform in _platforms(policy):
        lines += render_platform(name, platform)
    if policy.gateway is not None:
        lines += render_gateway(policy.gateway)
    for model in policy.models:
        lines += ["", f'[models."{model.name}"]']
        lines += [_pair("weights", model.weights), _pair("engines", model.engines)]
    return "\n".join(lines) + "\n"


def _pair(key: str, value: str | tuple[str, ...]) -> str:
    # Every string that a policy can hold is of letters, digits and `._:/@+-`: nothing to escape.
    if isinstance(value, str):
        return f'{key} = "{value}"'
    items = ", ".join(f'"{item}"' for item in value)
    return f"{key} = [{items}]"
