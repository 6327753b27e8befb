"""The tables of the gateway's database; `metadata` is the single source of its DDL."""

from gateway.models.accounts import account, api_key, key_limit, ledger_entry, payer
from gateway.models.audit import audit_log
from gateway.models.chain import chain_batch, chain_cursor, chain_order
from gateway.models.channels import channel
from gateway.models.collateral import vendor_document
from gateway.models.metadata import metadata
from gateway.models.metering import (
    allowance,
    attempt,
    claim,
    idempotency,
    lease,
    process,
    receipt,
    usage_day,
)
from gateway.models.payouts import payee, payout_channel
from gateway.models.workers import archived, collateral, decision, keyset, offer, sanction

__all__ = [
    "account",
    "allowance",
    "api_key",
    "archived",
    "attempt",
    "audit_log",
    "chain_batch",
    "chain_cursor",
    "chain_order",
    "channel",
    "claim",
    "collateral",
    "decision",
    "idempotency",
    "key_limit",
    "keyset",
    "lease",
    "ledger_entry",
    "metadata",
    "offer",
    "payee",
    "payer",
    "payout_channel",
    "process",
    "receipt",
    "sanction",
    "usage_day",
    "vendor_document",
]
