"""The W5 wallet (v5r1): its address, its external messages, and what its state says.

One external message makes up to 255 payments; each is sent "ignoring errors", so a payment that
the wallet cannot make is left out and the others go: whoever wants to know looks at what the
transaction sent. A message is good for one seqno and until `valid_until` (unix seconds, by the
chain's clock), so the same payment never goes out twice under one seqno.
"""

import json
from base64 import b64decode
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from pytoniq_core import Address, Cell

from ton.chain.errors import ForeignContract
from ton.chain.port import AccountState
from ton.codec.cells import Reader, Writer, parse_boc, raw
from ton.codec.storage import contract_address, state_init
from ton.tvm.accounts import Status
from ton.tvm.messages import external
from ton.wallet.keys import WalletKey
from ton.wallet.outgoing import Outgoing

MAX_ACTIONS: Final = 200
"""Payments in one message: the wallet takes 255; 200 were measured at 147,622 gas."""
MAX_BYTES: Final = 60_000
"""Of an external message: validators take 65,535."""
_SIGNED_EXTERNAL: Final = 0x7369676E
_SEND: Final = 0x0EC3C86D
_MODE: Final = 3
"""Fees are paid apart from the value (1), errors are ignored (2): W5 takes nothing without 2."""
_CLIENT_CONTEXT: Final = 1 << 31
"""How wallet ids begin: basechain, version 0, subwallet 0, as other wallets make the first one."""


@cache
def wallet_code() -> Cell:
    """The published code, as committed beside this module; its hash is pinned by a test."""
    document = json.loads(Path(__file__).with_name("w5.json").read_bytes())
    return parse_boc(b64decode(document["code_boc"]))


def wallet_id(network: int) -> int:
    """The id of the first wallet of a key on this network, unsigned."""
    return (network ^ _CLIENT_CONTEXT) & 0xFFFFFFFF


def wallet_init(public_key: bytes, *, network: int) -> Cell:
    """Code and first state: signatures allowed, seqno 0, no extensions."""
    data = Writer().uint(1, 1).uint(0, 32).uint(wallet_id(network), 32).octets(public_key, 32)
    return state_init(wallet_code(), data.uint(0, 1).cell())


def wallet_address(public_key: bytes, *, network: int) -> Address:
    """Where this key's first wallet lives: the address that other wallets show for it."""
    return contract_address(wallet_init(public_key, network=network))


def seqno_of(state: AccountState) -> int:
    """The seqno that the wallet takes next; raises `ForeignContract` for another contract."""
    if state.status in {Status.ABSENT, Status.UNINITIALIZED}:
        return 0
    if state.code is None or state.data is None or state.code.hash != wallet_code().hash:
        raise ForeignContract(f"{raw(state.address)} is no W5 wallet")
    reader = Reader(state.data)
    reader.uint(1)
    return reader.uint(32)


def signed_message(
    key: WalletKey,
    outgoing: Sequence[Outgoing],
    *,
    network: int,
    seqno: int,
    valid_until: int,
) -> Cell:
    """The external message that makes these payments, in their order; at most `MAX_ACTIONS`.

    With the first one goes the wallet's own state init. Raises `MalformedCell`.
    """
    init = wallet_init(key.public_key, network=network)
    source = contract_address(init)
    actions = Writer().cell()
    for one in outgoing:
        action = Writer().ref(actions).uint(_SEND, 32).uint(_MODE, 8)
        actions = action.ref(one.cell(source)).cell()
    writer = Writer().uint(_SIGNED_EXTERNAL, 32).uint(wallet_id(network), 32)
    writer.uint(valid_until, 32).uint(seqno, 32).uint(1, 1).ref(actions).uint(0, 1)
    signature = key.sign(writer.cell().hash)
    return external(source, writer.octets(signature, 64).cell(), None if seqno else init)
