"""The tables of the gateway's database; `metadata` is the single source of its DDL."""

from gateway.models.accounts import account, api_key, ledger_entry, payer
from gateway.models.metadata import metadata
from gateway.models.metering import attempt, claim, idempotency, lease, process, receipt
from gateway.models.workers import collateral, keyset, offer

__all__ = [
    "account",
    "api_key",
    "attempt",
    "claim",
    "collateral",
    "idempotency",
    "keyset",
    "lease",
    "ledger_entry",
    "metadata",
    "offer",
    "payer",
    "process",
    "receipt",
]
