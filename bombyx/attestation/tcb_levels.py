"""What the DCAP library leaves unsaid about patch levels, read out of the signed texts (SPEC 17.4).

It takes TCB info of another `pceId`, and a quoting enclave whose level `ConfigurationNeeded` or
`OutOfDateConfigurationNeeded` it counts as up to date. Both are refused here. The texts are
signed, and were verified before they come here.
"""

from datetime import datetime
from typing import Any

import msgspec

from bombyx.attestation.steps import StepName
from bombyx.errors import CollateralMalformed, CollateralMismatch, TcbRefused

_OF_PARTS = ("UpToDate", "OutOfDate")
"""All that a quoting enclave or TDX module can be, besides revoked (Intel's DCAP)."""
_OUT_OF_DATE = "OutOfDate"


class _Svn(msgspec.Struct):
    isvsvn: int


class _Level(msgspec.Struct):
    tcb: _Svn
    tcbDate: str  # noqa: N815  (Intel's spelling)
    tcbStatus: str  # noqa: N815


class _Module(msgspec.Struct):
    id: str
    tcbLevels: list[_Level]  # noqa: N815


class _TcbInfo(msgspec.Struct):
    pceId: str  # noqa: N815
    tdxModuleIdentities: list[_Module] = []  # noqa: N815


def check_levels(claims: dict[str, Any], tcb_info: str) -> int | None:
    """Since when a level is out of date (unix seconds), None where none is.

    `claims` are the library's. Raises `EvidenceRefused` for the cases above.
    """
    try:
        info = msgspec.json.decode(tcb_info, type=_TcbInfo)
        return _since(claims, info)
    except (msgspec.DecodeError, ValueError):
        raise CollateralMalformed(
            StepName.COLLATERAL_CURRENT, "the TCB info cannot be read"
        ) from None


def _since(claims: dict[str, Any], info: _TcbInfo) -> int | None:
    if bytes(claims["platform"]["pck"]["pce_id"]).hex() != info.pceId.lower():
        raise CollateralMismatch(
            StepName.COLLATERAL_CURRENT, "the collateral is another platform's"
        )
    enclave = claims["qe"]["tcb_level"]
    if enclave["tcbStatus"] not in _OF_PARTS:
        raise TcbRefused(StepName.TCB_STATUS, "the quoting enclave has an unknown status")
    levels = [claims["platform"]["tcb_level"], enclave, *_module_level(claims, info)]
    old = [one["tcbDate"] for one in levels if one["tcbStatus"].startswith(_OUT_OF_DATE)]
    return min(map(unix_seconds, old), default=None)


def _module_level(claims: dict[str, Any], info: _TcbInfo) -> list[dict[str, Any]]:
    """The level of the TDX module that the quote names; the library judged its status."""
    (report,) = claims["report"].values()
    svn, version = bytes.fromhex(report.get("tee_tcb_svn", "0000"))[:2]
    for module in info.tdxModuleIdentities:
        if version and module.id == f"TDX_{version:02X}":
            found = (one for one in module.tcbLevels if one.tcb.isvsvn <= svn)
            return [msgspec.to_builtins(one) for one in found][:1]
    return []


def unix_seconds(date: str) -> int:
    """A vendor's date such as `2024-11-13T00:00:00Z`; raises `ValueError`."""
    return int(datetime.fromisoformat(date).timestamp())
