import base64
import hashlib
import struct
from datetime import UTC, datetime

import msgspec
from cryptography import x509

from bombyx.attestation.simulated import FMSPC, image_measurement
from bombyx.attestation.steps import SIMULATED_UNKNOWN, Result
from bombyx.attestation.tdx_quote import parse_quote
from bombyx.attestation.verify import verify_worker
from tests.bombyx.attestation.world import DAY, IMAGE, KEYSET, NOW, POLICY, ROOT
from worker.attest.port import Attested, attest
from worker.attest.simulated import SimulatedQuoter


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


async def attested(clock: Clock) -> Attested:
    return await attest(SimulatedQuoter(ROOT, image=IMAGE, clock=clock), KEYSET)


async def test_a_simulated_worker_verifies_under_a_policy_that_names_its_root() -> None:
    proof = await attested(Clock())
    worker = verify_worker(KEYSET, proof.evidence, proof.collateral, policy=POLICY, now=NOW)
    unknown = tuple(step.name for step in worker.steps if step.result is Result.UNKNOWN)
    assert unknown == SIMULATED_UNKNOWN


async def test_a_worker_that_runs_for_months_still_shows_current_collateral() -> None:
    clock = Clock()
    quoter = SimulatedQuoter(ROOT, image=IMAGE, clock=clock)
    clock.now += 90 * DAY
    later = msgspec.structs.replace(KEYSET, not_after=clock.now + DAY)
    proof = await attest(quoter, later)
    worker = verify_worker(later, proof.evidence, proof.collateral, policy=POLICY, now=clock.now)
    assert worker.expires_at == clock.now + DAY


async def test_two_workers_of_one_root_are_two_machines() -> None:
    ids = set()
    for _ in range(2):
        proof = await attested(Clock())
        worker = verify_worker(KEYSET, proof.evidence, proof.collateral, policy=POLICY, now=NOW)
        ids.add(worker.platform_id)
    assert len(ids) == 2


async def test_everything_says_simulated() -> None:
    proof = await attested(Clock())
    quote = parse_quote(base64.b64decode(proof.evidence.quote))
    assert quote.user_data == b"SIMULATED" + bytes(11)
    for der in quote.chain:
        subject = x509.load_der_x509_certificate(der).subject.rfc4514_string()
        assert "SIMULATED NOT INTEL" in subject
    assert proof.collateral is not None
    assert f'"fmspc":"{FMSPC.hex().upper()}"' in proof.collateral.tcb_info
    assert FMSPC.hex() == "5353494d0001"


async def test_collateral_lives_29_days() -> None:
    proof = await attested(Clock())
    assert proof.collateral is not None
    info = msgspec.json.decode(proof.collateral.tcb_info)
    end = datetime.strptime(info["nextUpdate"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert end.timestamp() == NOW + 29 * DAY


def test_the_image_is_a_constant_of_the_version() -> None:
    wanted = hashlib.sha384(b"bombyx/1/simulated-image\x000.1.0").digest()
    assert image_measurement("0.1.0") == wanted
    assert image_measurement("0.1.1") != wanted


async def test_the_quote_has_its_canonical_length() -> None:
    proof = await attested(Clock())
    raw = base64.b64decode(proof.evidence.quote)
    (length,) = struct.unpack_from("<I", raw, 632)
    assert len(raw) == 636 + length
