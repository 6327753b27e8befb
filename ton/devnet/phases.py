"""A transaction in all its phases, for the shapes that show everything."""

from base64 import b64encode
from dataclasses import dataclass
from typing import Any

from pytoniq_core import Cell
from pytoniq_core.tlb.transaction import Transaction

from ton.codec.cells import parse_boc
from ton.devnet.heads import Head, read_head
from ton.devnet.log import Entry
from ton.tvm.transactions import Transaction as Facts

_STATUS = {"uninitialized": "uninit"}
"""v3's words for an account's status, where pytoniq-core has others."""


@dataclass(frozen=True, slots=True)
class Detail:
    """A transaction with its messages; `tree` is pytoniq-core's reading of it."""

    entry: Entry
    facts: Facts
    tree: Any
    incoming: Head
    outgoing: tuple[Head, ...]


def detail(entry: Entry) -> Detail:
    """Everything about a transaction of the log."""
    facts = Facts.read(entry.boc)
    tree = Transaction.deserialize(parse_boc(entry.boc).begin_parse())
    if facts.in_message is None:
        raise ValueError("every transaction of this chain has a message that caused it")
    outgoing = tuple(read_head(cell) for cell in facts.out_messages)
    return Detail(entry, facts, tree, read_head(facts.in_message), outgoing)


def b64(data: bytes) -> str:
    """Bytes as toncenter shows them."""
    return b64encode(data).decode()


def hash_of(cell: Cell | None) -> str | None:
    """A cell's hash as toncenter shows it."""
    return None if cell is None else b64(cell.hash)


def description(one: Detail) -> dict[str, Any]:
    """The phases, in v3's words."""
    tree = one.tree.description
    shown: dict[str, Any] = {
        "type": "ord",
        "aborted": bool(tree.aborted),
        "destroyed": bool(tree.destroyed),
        "credit_first": bool(tree.credit_first),
        "compute_ph": _compute(tree.compute_ph),
    }
    if tree.storage_ph is not None:
        shown["storage_ph"] = _storage(tree.storage_ph)
    if tree.credit_ph is not None:
        shown["credit_ph"] = {"credit": str(tree.credit_ph.credit.grams)}
    if tree.action is not None:
        shown["action"] = _action(tree.action)
    if tree.bounce is not None:
        shown["bounce"] = _bounce(tree.bounce)
    return shown


def _storage(phase: Any) -> dict[str, Any]:
    shown = {
        "storage_fees_collected": str(phase.storage_fees_collected),
        "status_change": phase.status_change.type_,
    }
    if phase.storage_fees_due is not None:
        shown["storage_fees_due"] = str(phase.storage_fees_due)
    return shown


def _compute(phase: Any) -> dict[str, Any]:
    if phase.type_ == "skipped":
        return {"skipped": True, "reason": phase.reason.type_}
    return {
        "skipped": False,
        "success": bool(phase.success),
        "msg_state_used": bool(phase.msg_state_used),
        "account_activated": bool(phase.account_activated),
        "gas_fees": str(phase.gas_fees),
        "gas_used": str(phase.gas_used),
        "gas_limit": str(phase.gas_limit),
        "gas_credit": str(phase.gas_credit or 0),
        "mode": phase.mode,
        "exit_code": phase.exit_code,
        "vm_steps": phase.vm_steps,
        "vm_init_state_hash": b64(phase.vm_init_state_hash),
        "vm_final_state_hash": b64(phase.vm_final_state_hash),
    }


def _action(phase: Any) -> dict[str, Any]:
    return {
        "success": bool(phase.success),
        "valid": bool(phase.valid),
        "no_funds": bool(phase.no_funds),
        "status_change": phase.status_change.type_,
        "total_fwd_fees": str(phase.total_fwd_fees or 0),
        "total_action_fees": str(phase.total_action_fees or 0),
        "result_code": phase.result_code,
        "tot_actions": phase.tot_actions,
        "spec_actions": phase.spec_actions,
        "skipped_actions": phase.skipped_actions,
        "msgs_created": phase.msgs_created,
        "action_list_hash": b64(phase.action_list_hash),
        "tot_msg_size": {
            "cells": str(phase.tot_msg_size.cells),
            "bits": str(phase.tot_msg_size.bits),
        },
    }


def _bounce(phase: Any) -> dict[str, Any]:
    if phase.type_ != "ok":
        return {"type": phase.type_}
    return {"type": "ok", "msg_fees": str(phase.msg_fees), "fwd_fees": str(phase.fwd_fees)}


def status(tree_status: Any) -> str:
    """An account's status in v3's words."""
    return str(_STATUS.get(tree_status.type_, tree_status.type_))
