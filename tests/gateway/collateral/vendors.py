"""A local server that plays Intel's PCS, AMD's KDS and NVIDIA's services with recorded answers.

What vendors would sign anew each day (revocation lists, OCSP answers) is minted here; nobody at the
gateway checks those signatures, and dates are all that counts.
"""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from urllib.parse import quote

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from gateway.settings import GatewaySettings

_FOLDER = Path(__file__).parents[2] / "fixtures/tee"
NOW = 1_772_323_200
"""2026-03-01: Intel's recorded documents are good from 2026-02-18 to 2026-03-20."""
DAY = 24 * 3600
INTEL_END = int(datetime(2026, 3, 20, 10, 41, 15, tzinfo=UTC).timestamp())
DCAP: dict[str, str] = json.loads((_FOLDER / "tdx/tdx_quote_outdated_collateral.json").read_bytes())
FMSPC = "90c06f000000"
TDX = f"tdx/{FMSPC}/platform"
VCEK = (_FOLDER / "snp/milan_vcek.der").read_bytes()
REPORT = (_FOLDER / "snp/milan_report.bin").read_bytes()
CHIP = REPORT[0x1A0:0x1E0].hex()
TCB = REPORT[0x180:0x188].hex()
MILAN_CHIP = f"sev-snp/milan/{CHIP}/{TCB}"
MILAN = "sev-snp/milan/vcek"
CHAIN = (_FOLDER / "snp/ask_ark_milan.pem").read_bytes()
RIM_NAME = "NV_GPU_DRIVER_GH100_550.144.03"
RIM_XML = (_FOLDER / f"nvidia/rims/{RIM_NAME}.xml").read_bytes()
RIM = f"nvidia/rim/{RIM_NAME}"
SERIAL = "0102ab"
OCSP = f"nvidia/ocsp/{'aa' * 48}/{'bb' * 48}/{SERIAL}"
NAMES = (TDX, MILAN_CHIP, MILAN, RIM, OCSP)

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)


@cache
def revocation_list(end: int = NOW + 30 * DAY) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ARK-Milan")])
    builder = x509.CertificateRevocationListBuilder().issuer_name(name)
    builder = builder.last_update(moment(NOW - DAY)).next_update(moment(end))
    return builder.sign(_key(), hashes.SHA256()).public_bytes(Encoding.DER)


@cache
def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def _responder() -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "responder")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(7)
    builder = builder.public_key(_key().public_key())
    builder = builder.not_valid_before(moment(NOW - DAY)).not_valid_after(moment(NOW + DAY))
    return builder.sign(_key(), hashes.SHA256())


def ocsp_answer(serial: int, end: int | None = NOW + DAY, *, since: int = NOW - DAY) -> bytes:
    builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
        b"\xaa" * 48,
        b"\xbb" * 48,
        serial,
        hashes.SHA384(),
        ocsp.OCSPCertStatus.GOOD,
        moment(since),
        None if end is None else moment(end),
        None,
        None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, _responder())
    return builder.sign(_key(), hashes.SHA256()).public_bytes(Encoding.DER)


@dataclass
class Vendors:
    """All vendors at one address; `faults` answer in a path's place, `asked` counts."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    faults: dict[str, Answer] = field(default_factory=dict)

    def settings(self, **changes: object) -> GatewaySettings:
        addresses = {
            "intel_pcs_url": self.url,
            "intel_root_crl_url": f"{self.url}/IntelSGXRootCA.der",
            "amd_kds_url": self.url,
            "nvidia_rim_url": self.url,
            "nvidia_ocsp_url": f"{self.url}/ocsp",
            "collateral_fetch_s": 2,
        }
        return GatewaySettings.model_validate({**addresses, **changes})

    def times(self, part: str) -> int:
        return sum(part in path for path in self.asked)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        for part, fault in self.faults.items():
            if part in request.path_qs:
                return await fault(request)
        body, headers = await _recorded(request)
        return web.Response(body=body, headers=headers)


async def _recorded(  # noqa: C901, PLR0911  (a table)
    request: web.Request,
) -> tuple[bytes, dict[str, str]]:
    match request.path_qs:
        case "/tdx/certification/v4/tcb?fmspc=90C06F000000":
            text = f'{{"tcbInfo":{DCAP["tcb_info"]},"signature":"{DCAP["tcb_info_signature"]}"}}'
            return text.encode(), {"TCB-Info-Issuer-Chain": quote(DCAP["tcb_info_issuer_chain"])}
        case "/tdx/certification/v4/qe/identity":
            signed, signature = DCAP["qe_identity"], DCAP["qe_identity_signature"]
            text = f'{{"enclaveIdentity":{signed},"signature":"{signature}"}}'
            chain = quote(DCAP["qe_identity_issuer_chain"])
            return text.encode(), {"SGX-Enclave-Identity-Issuer-Chain": chain}
        case "/sgx/certification/v4/pckcrl?ca=platform&encoding=der":
            chain = quote(DCAP["pck_crl_issuer_chain"])
            return bytes.fromhex(DCAP["pck_crl"]), {"SGX-PCK-CRL-Issuer-Chain": chain}
        case "/IntelSGXRootCA.der":
            return bytes.fromhex(DCAP["root_ca_crl"]), {}
        case "/sgx/certification/v4/rootcacrl":
            return DCAP["root_ca_crl"].encode(), {}
        case "/vcek/v1/Milan/cert_chain":
            return CHAIN, {}
        case "/vcek/v1/Milan/crl":
            return revocation_list(), {}
        case path if path.startswith(f"/vcek/v1/Milan/{CHIP}?"):
            return VCEK, {}
        case path if path == f"/v1/rim/{RIM_NAME}":
            rim = base64.b64encode(RIM_XML).decode()
            return json.dumps({"id": RIM_NAME, "rim": rim}).encode(), {}
        case "/ocsp":
            asked = ocsp.load_der_ocsp_request(await request.read())
            return ocsp_answer(asked.serial_number), {}
    raise web.HTTPNotFound


@contextlib.asynccontextmanager
async def vendors() -> AsyncIterator[Vendors]:
    """The server, on loopback."""
    all_of_them = Vendors()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", all_of_them.serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        all_of_them.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield all_of_them
    finally:
        await runner.cleanup()


def status(code: int) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=code)

    return answer


def body(data: bytes, **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=data, headers=headers)

    return answer


def leads_to(place: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"location": place})

    return answer


async def silence(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(30)
    return web.Response()
