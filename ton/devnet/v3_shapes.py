"""What toncenter's API v3 shows: accounts, messages, transactions, traces.

Addresses are `workchain:HEX` in capitals, hashes base64, amounts and logical times strings.
"""

from collections.abc import Iterable
from typing import Any, Final

from pytoniq_core import Address

from ton.devnet.bocs import encode_boc
from ton.devnet.heads import Head
from ton.devnet.log import Entry, Posted
from ton.devnet.phases import Detail, b64, description, detail, hash_of, status
from ton.tvm.accounts import Account, Status

SHARD: Final = "8000000000000000"
STATES: Final = {
    Status.ABSENT: "nonexist",
    Status.UNINITIALIZED: "uninit",
    Status.ACTIVE: "active",
    Status.FROZEN: "frozen",
}


def place(address: str | None) -> str | None:
    """`0:ab…` as `0:AB…`."""
    return None if address is None else address.upper()


def address_book(places: Iterable[str | None]) -> dict[str, Any]:
    """The friendly form of each address that an answer names."""
    return {
        one.upper(): {"user_friendly": Address(one).to_str(), "domain": None, "interfaces": []}
        for one in sorted({one for one in places if one is not None})
    }


def account_state(address: str, account: Account, *, with_boc: bool) -> dict[str, Any]:
    """A row of `accountStates`."""
    shown: dict[str, Any] = {
        "address": place(address),
        "account_state_hash": None,
        "balance": str(account.balance),
        "extra_currencies": {},
        "status": STATES[account.status],
        "last_transaction_hash": b64(account.last_hash),
        "last_transaction_lt": str(account.last_lt),
        "data_hash": hash_of(account.data),
        "code_hash": hash_of(account.code),
        "frozen_hash": None,
        "contract_methods": [],
        "interfaces": [],
    }
    if with_boc:
        shown["code_boc"] = encode_boc(account.code) if account.code is not None else None
        shown["data_boc"] = encode_boc(account.data) if account.data is not None else None
    return shown


def message(head: Head, *, sent_by: bytes | None = None, got_by: bytes | None = None) -> Any:
    """A message; what does not apply to its kind is null."""
    is_internal = head.value is not None
    shown: dict[str, Any] = {
        "hash": b64(head.hash),
        "source": place(head.source),
        "destination": place(head.destination),
        "value": str(head.value) if is_internal else None,
        "value_extra_currencies": {},
        "fwd_fee": str(head.forward_fee) if is_internal else None,
        "ihr_fee": "0" if is_internal else None,
        "created_lt": None if head.is_from_outside else str(head.created_lt),
        "created_at": None if head.is_from_outside else str(head.created_at),
        "opcode": None if head.op is None else f"0x{head.op:08x}",
        "ihr_disabled": True if is_internal else None,
        "bounce": head.bounce if is_internal else None,
        "bounced": head.bounced if is_internal else None,
        "import_fee": str(head.import_fee) if head.is_from_outside else None,
        "message_content": {
            "hash": b64(head.body.hash),
            "body": encode_boc(head.body),
            "decoded": None,
        },
        "init_state": None
        if head.init is None
        else {"hash": b64(head.init.hash), "body": encode_boc(head.init)},
        "in_msg_tx_hash": None if got_by is None else b64(got_by),
        "out_msg_tx_hash": None if sent_by is None else b64(sent_by),
    }
    if head.is_from_outside:
        shown["hash_norm"] = b64(head.norm)
    return shown


def posted_places(found: Iterable[Posted]) -> list[str | None]:
    """The addresses of messages, for the address book."""
    return [one for message in found for one in (message.source, message.destination)]


def transaction(one: Detail) -> dict[str, Any]:
    """A transaction with its phases, messages, and its account before and after."""
    entry, tree = one.entry, one.tree
    return {
        "account": place(entry.account),
        "hash": b64(entry.hash),
        "lt": str(entry.lt),
        "now": entry.utime,
        "mc_block_seqno": entry.block,
        "trace_id": b64(entry.trace),
        "trace_external_hash": None,
        "prev_trans_hash": b64(tree.prev_trans_hash),
        "prev_trans_lt": str(tree.prev_trans_lt),
        "orig_status": status(tree.orig_status),
        "end_status": status(tree.end_status),
        "total_fees": str(one.facts.total_fees),
        "total_fees_extra_currencies": {},
        "description": description(one),
        "block_ref": {
            "workchain": int(entry.account.partition(":")[0]),
            "shard": SHARD,
            "seqno": entry.block,
        },
        "in_msg": message(one.incoming, sent_by=entry.parent, got_by=entry.hash),
        "out_msgs": [message(head, sent_by=entry.hash) for head in one.outgoing],
        "account_state_before": _snapshot(entry.before),
        "account_state_after": _snapshot(entry.after),
        "emulated": False,
        "finality": "finalized",
    }


def _snapshot(shard_account: bytes) -> dict[str, Any]:
    account = Account.read(shard_account)
    return {
        "hash": None,
        "balance": str(account.balance),
        "extra_currencies": {},
        "account_status": STATES[account.status],
        "frozen_hash": None,
        "data_hash": hash_of(account.data),
        "code_hash": hash_of(account.code),
    }


def trace(entries: list[Entry]) -> dict[str, Any]:
    """A trace, from all its transactions in the order in which they happened."""
    first, last = entries[0], entries[-1]
    details = [detail(entry) for entry in entries]
    head = details[0].incoming
    return {
        "trace_id": b64(first.trace),
        "external_hash": b64(first.in_hash) if head.is_from_outside else None,
        "external_hash_norm": b64(first.in_norm) if head.is_from_outside else None,
        "mc_seqno_start": str(first.block),
        "mc_seqno_end": str(last.block),
        "start_lt": str(first.lt),
        "start_utime": first.utime,
        "end_lt": str(last.lt),
        "end_utime": last.utime,
        "trace_info": {
            "trace_state": "complete",
            "messages": 1 + sum(len(one.outgoing) for one in details),
            "transactions": len(entries),
            "pending_messages": 0,
            "classification_state": "unclassified",
        },
        "is_incomplete": False,
        "actions": [],
        "trace": _tree(details),
        "transactions_order": [b64(entry.hash) for entry in entries],
        "transactions": {b64(one.entry.hash): transaction(one) for one in details},
    }


def _tree(details: list[Detail]) -> dict[str, Any]:
    nodes = {one.entry.hash: _node(one) for one in details}
    for one in details:
        if one.entry.parent is not None:
            nodes[one.entry.parent]["children"].append(nodes[one.entry.hash])
    return nodes[details[0].entry.hash]


def _node(one: Detail) -> dict[str, Any]:
    return {
        "tx_hash": b64(one.entry.hash),
        "in_msg_hash": b64(one.entry.in_hash),
        "in_msg": message(one.incoming, sent_by=one.entry.parent, got_by=one.entry.hash),
        "transaction": transaction(one),
        "children": [],
    }
