"""What a claim is settled for when its deadline passes without a terminal statement (SPEC 6.7)."""

import msgspec
import structlog

from bombyx import canonical
from bombyx.envelope.walker import UsageNoted
from bombyx.errors import BombyxError
from bombyx.money.receipt import Receipt, verify_receipt
from bombyx.money.settlement import Passed, check_statement
from gateway.metering.rows import WORKER_PREFIX, SettlementRow, SignedStatement, StoredClaim
from gateway.workers.desk import Desk, Held

_log = structlog.get_logger(__name__)


class Deadlines:
    """The meter's hook; the desk is bound to it once both exist."""

    def __init__(self) -> None:
        self._desk: Desk | None = None

    def attach(self, desk: Desk) -> None:
        """Say whose partial statements count."""
        self._desk = desk

    def settle(self, stored: StoredClaim) -> SettlementRow:
        """The highest valid partial that this process holds, promoted; else nothing."""
        held = self._desk.take_held(stored.c.hex()) if self._desk is not None else None
        for noted in reversed(held.usages if held is not None else ()):
            row = _promote(stored, held, noted) if held is not None else None
            if row is not None:
                return row
        return SettlementRow(stored.c)


def _promote(stored: StoredClaim, held: Held, noted: UsageNoted) -> SettlementRow | None:
    """A partial as the claim's settlement; None when it does not hold."""
    keyset = held.listed.verified.keyset
    try:
        receipt = canonical.decode(noted.receipt, Receipt)
        verify_receipt(receipt, bytes.fromhex(keyset.receipt_key))
        passed = Passed(noted.resp_ct_hash.hex(), noted.resp_ct_bytes)
        check_statement(receipt.statement, held.claim, passed=passed)
    except BombyxError as error:
        _log.warning("partial_refused", c=stored.c.hex(), reason=error.message)
        return None
    statement = receipt.statement
    return SettlementRow(
        c=stored.c,
        amount=int(statement.amount_nano),
        fee=int(statement.fee_nano),
        payee=WORKER_PREFIX + held.listed.payout,
        statement=SignedStatement(
            statement_hash=canonical.digest(statement),
            id=statement.id,
            worker=statement.worker,
            status=statement.status.value,
            document=noted.receipt,
        ),
        tokens=msgspec.structs.astuple(statement.tokens),
    )
