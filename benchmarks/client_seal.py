"""CPU of sealing a 4 KB body to three candidates, and of opening it at one."""

import hashlib
import os
import statistics
import time
from collections.abc import Callable

from bombyx.envelope.header import Candidate, Header, hash_header
from bombyx.envelope.keys import PublicSealingKey, SealingKey
from bombyx.envelope.plaintext import PlaintextHead
from bombyx.envelope.request import Entropy, check_commitment, open_frames, seal_request, unwrap
from bombyx.signing import Role, Signer

CANDIDATES = 3
BODY_BYTES = 4096
REPEATS = 300


def measure() -> list[dict[str, object]]:
    """Medians in microseconds."""
    keys = [SealingKey.from_seeds(os.urandom(64), os.urandom(32)) for _ in range(CANDIDATES)]
    public = [PublicSealingKey.from_bytes(key.public_bytes) for key in keys]
    payer = Signer(Role.PAYER, os.urandom(32))
    workers = [hashlib.sha256(key.public_bytes).hexdigest() for key in keys]
    header = Header(
        v="bombyx/1", id="0" * 32, gateway="0" * 64, method="POST", path="/v1/chat/completions",
        model="bench", stream=True, tier="sealed", payer=payer.public_hex, issued_at=1,
        max_input_tokens=1, max_output_tokens=1, max_cost_nano="1", fee_bps=0,
        candidates=[Candidate(worker=one, key_id="0" * 32, offer="0" * 64) for one in workers],
    )  # fmt: skip
    body = os.urandom(BODY_BYTES)
    head = PlaintextHead(content_type="application/json")

    def seal() -> object:
        entropy = Entropy(os.urandom(32), tuple(os.urandom(32) for _ in keys))
        return seal_request(
            hash_header(header), head, body, keys=public, payer=payer, entropy=entropy
        )

    sealed = seal_request(
        hash_header(header), head, body, keys=public, payer=payer,
        entropy=Entropy(os.urandom(32), tuple(os.urandom(32) for _ in keys)),
    )  # fmt: skip
    h = sealed.header.h

    def opened() -> object:
        found = unwrap(sealed.wraps[1], keys[1], worker=bytes.fromhex(workers[1]), h=h, c=sealed.c)
        check_commitment(found, h=h, c=sealed.c, req_ct_hash=sealed.req_ct_hash)
        return open_frames(found.dek, h, sealed.frames)

    return [
        {"case": "client seals 4 KB to 3 candidates", "us_cpu": _cpu(seal), "unit": "request"},
        {"case": "worker opens it", "us_cpu": _cpu(opened), "unit": "request"},
    ]


def _cpu(action: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.process_time_ns()
        action()
        times.append(time.process_time_ns() - start)
    return round(statistics.median(times) / 1000, 1)
