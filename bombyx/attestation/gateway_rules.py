"""Which gateways may be told a request in clear: `[gateway]` of a policy (SPEC 17.11).

A gateway is another image than a worker, so it has platforms and lists of its own, in tables of the
same form. Without the table nobody's evidence passes as a gateway's; an empty one allows nothing.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bombyx.attestation.platform_rules import (
    NO_SIMULATION,
    Rules,
    SimulatedRules,
    SnpPolicy,
    TdxPolicy,
    VtpmPolicy,
)
from bombyx.attestation.platform_tables import (
    describe,
    parse_simulated,
    parse_snp,
    parse_tdx,
    parse_vtpm,
    render_platform,
)
from bombyx.attestation.policy_names import PLATFORMS
from bombyx.attestation.policy_table import Table

if TYPE_CHECKING:
    from bombyx.attestation.policy import Policy


@dataclass(frozen=True, slots=True)
class GatewayRules:
    """The machines that a gateway may run on; the rules of a real platform None for defaults."""

    platforms: tuple[str, ...] = ()
    simulated: SimulatedRules = NO_SIMULATION
    tdx: TdxPolicy | None = None
    snp: SnpPolicy | None = None
    vtpm: VtpmPolicy | None = None


def parse_gateway(table: Table) -> GatewayRules:
    """The table `[gateway]`; raises `PolicyError`."""
    rules = GatewayRules(
        platforms=table.choices("platforms", PLATFORMS),
        simulated=parse_simulated(table.table("simulated")),
        tdx=parse_tdx(table.table("tdx")) if table.has("tdx") else None,
        snp=parse_snp(table.table("snp")) if table.has("snp") else None,
        vtpm=parse_vtpm(table.table("vtpm")) if table.has("vtpm") else None,
    )
    table.finish()
    return rules


def describe_gateway(rules: GatewayRules) -> dict[str, Any]:
    """The table as a policy's hash takes it: what nobody asks for is left out."""
    simulated = rules.simulated
    described: dict[str, Any] = {
        "platforms": list(rules.platforms),
        "simulated": {
            "roots": list(simulated.roots),
            "mr_td": list(simulated.mr_td),
            "accepted_tcb": list(simulated.accepted_tcb),
        },
    }
    return described | {name: describe(platform) for name, platform in _platforms(rules)}


def render_gateway(rules: GatewayRules) -> list[str]:
    """The table as lines of TOML."""
    described = describe_gateway(rules)
    lines = ["", "[gateway]", _list("platforms", described["platforms"])]
    lines += ["", "[gateway.simulated]"]
    lines += [_list(key, values) for key, values in described["simulated"].items()]
    for name, platform in _platforms(rules):
        lines += render_platform(f"gateway.{name}", platform)
    return lines


def policy_of_gateways(policy: "Policy", rules: GatewayRules) -> "Policy":
    """The policy with a gateway's machines in the place of workers': what machines are judged by.

    No model and no GPU: of those a gateway has none.
    """
    return replace(
        policy,
        platforms=rules.platforms,
        simulated=rules.simulated,
        tdx=rules.tdx,
        snp=rules.snp,
        vtpm=rules.vtpm,
        nvidia=None,
        models=(),
    )


def _platforms(rules: GatewayRules) -> list[tuple[str, Rules]]:
    tables: dict[str, Rules | None] = {"tdx": rules.tdx, "snp": rules.snp, "vtpm": rules.vtpm}
    return [(name, platform) for name, platform in tables.items() if platform is not None]


def _list(key: str, values: list[str]) -> str:
    # As everywhere in a policy: letters, digits and signs that need no escape.
    return f"{key} = [{', '.join(f'{value!r}' for value in values)}]".replace("'", '"')
