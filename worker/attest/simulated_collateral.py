"""What a simulated vendor says about a simulated machine: the nine DCAP texts.

`VendorView` says what the vendor knows against the machine; the default is nothing. Other views
exist so that every refusal of the verifier can be shown without hardware.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bombyx.attestation.collateral import Collateral
from bombyx.attestation.simulated import FMSPC
from worker.attest.simulated_certificates import pem_chain, revocation_list, sign_raw
from worker.attest.simulated_platform import (
    CPU_SVN,
    PCE_SVN,
    QE_PRODUCT,
    QE_SIGNER,
    QE_SVN,
    SimulatedPlatform,
)

DAY_SECONDS = 24 * 3600
LIFE_SECONDS = 29 * DAY_SECONDS
"""Just below the revocation lists' 30 days, as with Intel's."""
_MODULE_SVN = 3
_EVALUATION = 18


@dataclass(frozen=True, slots=True)
class VendorView:
    """Statuses of platform, quoting enclave and TDX module, and what is revoked."""

    status: str = "UpToDate"
    advisories: tuple[str, ...] = ()
    qe_status: str = "UpToDate"
    module_status: str = "UpToDate"
    platform_revoked: bool = False
    authority_revoked: bool = False
    fmspc: bytes = FMSPC


HONEST_VIEW = VendorView()


def mint_collateral(
    platform: SimulatedPlatform, *, now: int, view: VendorView = HONEST_VIEW
) -> Collateral:
    """Collateral from a day before `now` (unix seconds) to 29 days after."""
    signer, key = platform.tcb_signer.certificate, platform.tcb_signer.key
    root, authority = platform.root, platform.authority
    revoked_platforms = [platform.certificate.certificate] if view.platform_revoked else []
    revoked_authorities = [authority.certificate] if view.authority_revoked else []
    tcb_info = _text(_tcb_info(view, now))
    identity = _text(_enclave_identity(view, now))
    signing_chain = pem_chain(signer, root.certificate).decode()
    return Collateral(
        pck_crl_issuer_chain=pem_chain(authority.certificate, root.certificate).decode(),
        root_ca_crl=revocation_list(root, revoked_authorities, now=now).hex(),
        pck_crl=revocation_list(authority, revoked_platforms, now=now).hex(),
        tcb_info_issuer_chain=signing_chain,
        tcb_info=tcb_info,
        tcb_info_signature=sign_raw(key, tcb_info.encode()).hex(),
        qe_identity_issuer_chain=signing_chain,
        qe_identity=identity,
        qe_identity_signature=sign_raw(key, identity.encode()).hex(),
    )


def _tcb_info(view: VendorView, now: int) -> dict[str, Any]:
    zeros = {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "FF" * 8}
    module = {"tcb": {"isvsvn": _MODULE_SVN}, "tcbStatus": view.module_status, **_dated(now)}
    return {
        "id": "TDX",
        "version": 3,
        **_window(now),
        "fmspc": view.fmspc.hex().upper(),
        "pceId": "0000",
        "tcbType": 0,
        "tcbEvaluationDataNumber": _EVALUATION,
        "tdxModule": zeros,
        "tdxModuleIdentities": [{"id": "TDX_01", **zeros, "tcbLevels": [module]}],
        "tcbLevels": [_platform_level(view, now)],
    }


def _platform_level(view: VendorView, now: int) -> dict[str, Any]:
    module_components = (7, 0, _MODULE_SVN) + (0,) * 13
    level: dict[str, Any] = {
        "tcb": {
            "sgxtcbcomponents": [{"svn": svn} for svn in CPU_SVN],
            "tdxtcbcomponents": [{"svn": svn} for svn in module_components],
            "pcesvn": PCE_SVN,
        },
        "tcbStatus": view.status,
        **_dated(now),
    }
    if view.advisories:
        level["advisoryIDs"] = list(view.advisories)
    return level


def _enclave_identity(view: VendorView, now: int) -> dict[str, Any]:
    return {
        "id": "TD_QE",
        "version": 2,
        **_window(now),
        "tcbEvaluationDataNumber": _EVALUATION,
        "miscselect": "00000000",
        "miscselectMask": "FFFFFFFF",
        "attributes": "11" + "00" * 15,
        "attributesMask": "FBFFFFFFFFFFFFFF" + "00" * 8,
        "mrsigner": QE_SIGNER.hex(),
        "isvprodid": QE_PRODUCT,
        "tcbLevels": [{"tcb": {"isvsvn": QE_SVN}, "tcbStatus": view.qe_status, **_dated(now)}],
    }


def _window(now: int) -> dict[str, str]:
    return {"issueDate": _iso(now - DAY_SECONDS), "nextUpdate": _iso(now + LIFE_SECONDS)}


def _dated(now: int) -> dict[str, str]:
    return {"tcbDate": _iso(now - DAY_SECONDS)}


def _iso(moment: int) -> str:
    return datetime.fromtimestamp(moment, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"))
