"""The policy of a local network: exactly what its own workers say they will be.

That is right here and nowhere else: who starts the workers knows what they are. Elsewhere a policy
comes from somebody else than the worker.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bombyx.attestation.policy import (
    POLICY_VERSION,
    SIMULATED,
    ModelRules,
    Policy,
    SimulatedRules,
    parse_policy,
    render_policy,
)
from bombyx.cli.network.state import write_private
from bombyx.errors import SetupError


def local_policy(
    described: Mapping[str, Any],
    *,
    gateway: str | None = None,
    channel_keys: tuple[str, ...] = (),
) -> Policy:
    """Accepts what `bombyx worker --describe` describes.

    `gateway` pins a gateway's identity key, `channel_keys` are those to pay by channel (hex).
    Raises `SetupError` for another platform.
    """
    if described.get("platform") != SIMULATED:
        raise SetupError("a local network runs on simulated machines; this worker says otherwise")
    return Policy(
        version=POLICY_VERSION,
        network="local",
        platforms=(SIMULATED,),
        gateways=None if gateway is None else (gateway,),
        simulated=SimulatedRules(
            roots=(str(described["root"]),),
            mr_td=(str(described["mr_td"]),),
            accepted_tcb=("UpToDate",),
        ),
        models=tuple(
            ModelRules(str(model["id"]), (str(model["weights"]),), (str(model["engine"]),))
            for model in sorted(described["models"], key=lambda model: str(model["id"]))
        ),
        channel_keys=channel_keys,
    )


def write_policy(path: Path, policy: Policy) -> None:
    """Write the file that gateway and sidecar read; raises `PolicyError` for an impossible one."""
    text = render_policy(policy)
    parse_policy(tomllib.loads(text))
    write_private(path, text)
