"""What accepting a voucher costs a gateway, without its database: digest and signature."""

import hashlib
import time
from collections.abc import Callable

from bombyx.money.voucher import VoucherSigner, VoucherTemplate, check_voucher

VOUCHERS = 4_000


def measure() -> list[dict[str, object]]:
    """Rows for the table of CPU time."""
    template = VoucherTemplate(-239, hashlib.sha256(b"channel").digest())
    signer = VoucherSigner(bytes(range(32)))
    amounts = [10**9 + at for at in range(VOUCHERS)]
    signatures = [signer.sign(template, amount) for amount in amounts]

    def check() -> None:
        for amount, signature in zip(amounts, signatures, strict=True):
            check_voucher(template, amount, signature=signature, key=signer.public_key)

    def digest() -> None:
        for amount in amounts:
            template.digest(amount)

    return [_row("voucher, digest", digest), _row("voucher, digest and signature", check)]


def _row(case: str, work: Callable[[], None]) -> dict[str, object]:
    best = float("inf")
    for _ in range(3):
        begun = time.process_time()
        work()
        best = min(best, time.process_time() - begun)
    return {"case": case, "us_cpu": round(best / VOUCHERS * 1e6, 1), "unit": "voucher"}
