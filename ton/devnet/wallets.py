"""Wallets that are known by their code: what `getWalletInformation` and `walletStates` tell."""

from dataclasses import dataclass
from typing import Final

from ton.codec.cells import Reader
from ton.errors import MalformedCell
from ton.tvm.accounts import Account

_KINDS: Final = {
    "84dafa449f98a6987789ba232358072bc0f76dc4524002a5d0918b9a75d2d599": "wallet v3 r2",
    "feb5ff6820e2ff0d9483e7e0d62c817d846789fb4ae580c878866d959dabd5c0": "wallet v4 r2",
    "20834b7b72b112147e1b2fb457b84e74d1a30f04f737d4f62a668e9552d2b72f": "wallet v5 r1",
}
"""Hashes of the codes that nearly all wallets have, and toncenter's names for them."""
_V5: Final = "wallet v5 r1"


@dataclass(frozen=True, slots=True)
class Wallet:
    """A wallet's kind, seqno and id."""

    kind: str
    seqno: int
    wallet_id: int
    is_signature_allowed: bool = True


def wallet_of(account: Account) -> Wallet | None:
    """What a wallet's data says; None for anything else."""
    if account.code is None or account.data is None:
        return None
    kind = _KINDS.get(account.code.hash.hex())
    if kind is None:
        return None
    try:
        reader = Reader(account.data)
        allowed = bool(reader.uint(1)) if kind == _V5 else True
        return Wallet(kind, reader.uint(32), reader.uint(32), allowed)
    except MalformedCell:
        return None
