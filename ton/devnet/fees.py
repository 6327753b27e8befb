"""What an external message would cost: it is executed, and forgotten."""

from typing import Any

from pytoniq_core import Cell
from pytoniq_core.tlb.transaction import Transaction as Tree

from ton.codec.cells import parse_boc
from ton.codec.storage import state_init
from ton.devnet.arguments import Arguments
from ton.devnet.chain import Devnet
from ton.devnet.errors import BadArgument
from ton.tvm.messages import external


def estimate(devnet: Devnet, arguments: Arguments) -> dict[str, int]:
    """Fees of `body` (and `init_code`, `init_data`) sent to `address`, in nano.

    Signatures are checked: the TVM is the same that would run the message. Raises `Refusal`.
    """
    address, body = arguments.address(), arguments.boc("body")
    code, data = _optional(arguments, "init_code"), _optional(arguments, "init_data")
    if (code is None) != (data is None):
        raise BadArgument("init_data: init_code and init_data belong together")
    init = state_init(code, data) if code is not None and data is not None else None
    done = devnet.probe(external(address, body, init))
    tree: Any = Tree.deserialize(parse_boc(done.boc).begin_parse())
    phases = tree.description
    gas = getattr(phases.compute_ph, "gas_fees", None) or 0
    storage = phases.storage_ph.storage_fees_collected if phases.storage_ph else 0
    action = phases.action
    in_total = (action.total_action_fees or 0) if action else 0
    return {
        "in_fwd_fee": int(tree.total_fees.grams - gas - storage - in_total),
        "storage_fee": int(storage),
        "gas_fee": int(gas),
        "fwd_fee": int((action.total_fwd_fees or 0) if action else 0),
    }


def _optional(arguments: Arguments, name: str) -> Cell | None:
    return arguments.boc(name) if arguments.has(name) else None
