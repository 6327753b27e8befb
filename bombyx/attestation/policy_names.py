"""Names that a policy may hold (SPEC 17.3)."""

from typing import Final

NETWORKS: Final = ("local", "testnet", "mainnet")
PLATFORMS: Final = ("tdx", "sev-snp", "vtpm", "simulated")
HARDWARE: Final = ("tdx", "sev-snp")
"""Whose memory is closed to the machine's owner."""
SIMULATED: Final = "simulated"
TCB_STATUSES: Final = (
    "UpToDate",
    "SWHardeningNeeded",
    "ConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded",
    "OutOfDate",
    "OutOfDateConfigurationNeeded",
)
"""Intel's names. `Revoked` is not among them: no policy can accept it."""
