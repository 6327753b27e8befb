"""The files between workers and their owner's tools: vouchers out, what the chain shows in (8.8).

Vouchers in them lie in the clear and are checked again: a worker's folder is on a machine that its
owner need not trust with more than the loss of what it holds.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bombyx import canonical
from bombyx.errors import BombyxError, NotCanonical, SetupError
from bombyx.files.durable import drafted
from bombyx.money.channel.addresses import account_of
from bombyx.money.channel.identity import Channel
from bombyx.money.channel.payout_documents import (
    PAYOUTS_FILE,
    SEEN_FILE,
    HeldPayout,
    PayoutFile,
    SeenFile,
    SeenPayout,
    admit_payout,
)
from bombyx.money.channel.terms import NO_CEILING, Ceiling, Voucher, check_offered

MAX_BYTES: Final = 1 << 20
"""Several times what the longest file needs."""


@dataclass(slots=True)
class Payable:
    """A channel that pays this owner, from the files of all workers that it pays.

    `billed` is the sum over those workers, `best` the highest voucher that any of them holds.
    """

    gateway: str
    channel: Channel
    best: Ceiling = NO_CEILING
    billed: int = 0
    is_current: bool = False
    folders: list[Path] = field(default_factory=list)


def is_paid(folder: Path) -> bool:
    """Whether a gateway's vouchers lie in a worker's folder, as far as we may look."""
    try:
        return (folder / PAYOUTS_FILE).is_file()
    except OSError:
        return False


def read_folders(folders: Sequence[Path]) -> list[Payable]:
    """All channels of these workers; one without a file was never paid by a channel.

    Raises `SetupError` for a file that cannot be read, or holds what nobody signed.
    """
    found: dict[tuple[int, bytes], Payable] = {}
    for folder in folders:
        told = _read(folder)
        for held in told.held if told is not None else ():
            _take(found, folder, held, _payee(folder, told))
    return list(found.values())


def _read(folder: Path) -> PayoutFile | None:
    path = folder / PAYOUTS_FILE
    try:
        with path.open("rb") as file:
            return canonical.decode(file.read(MAX_BYTES), PayoutFile)
    except FileNotFoundError:
        if not folder.is_dir():
            raise SetupError(
                f"{folder} is no worker's state folder: name it with --state"
            ) from None
        return None
    except (OSError, NotCanonical) as error:
        raise SetupError(f"{path} cannot be read: {error}") from None


def _payee(folder: Path, told: PayoutFile | None) -> bytes | None:
    account = account_of(told.payout) if told is not None else None
    if told is not None and told.held and account is None:
        raise SetupError(f"{folder / PAYOUTS_FILE} pays {told.payout}, which is no address")
    return account


def _take(
    found: dict[tuple[int, bytes], Payable], folder: Path, held: HeldPayout, payee: bytes | None
) -> None:
    told = held.payout_channel
    # A channel from before the owner moved to another wallet still pays the old one.
    account = payee if payee is not None and payee.hex() == told.gateway else None
    try:
        channel = admit_payout(
            told,
            payee=account or bytes.fromhex(told.gateway),
            payee_key=bytes.fromhex(told.gateway_key),
        )
        best = (
            check_offered(held.voucher, channel)
            if isinstance(held.voucher, Voucher)
            else NO_CEILING
        )
    except BombyxError as error:
        raise SetupError(f"{folder / PAYOUTS_FILE}: channel {told.channel}: {error}") from None
    one = found.setdefault((channel.network, channel.account), Payable(held.gateway, channel))
    one.billed += int(held.billed_nano)
    one.is_current = one.is_current or held.is_current
    one.folders.append(folder)
    if best.amount > one.best.amount:
        one.best = best


def write_seen(folder: Path, seen: Sequence[SeenPayout], *, at: int) -> None:
    """Tell a worker what the chain shows of its channels, whole or not at all; raises `SetupError`.

    Written even when there is nothing: it tells the worker that its owner watches.
    """
    document = SeenFile(v="bombyx-payouts-seen/1", at=at, seen=list(seen))
    path = folder / SEEN_FILE
    try:
        with drafted(path, canonical.encode(document)) as draft:
            _same_owner(folder, draft)
            draft.replace(path)
    except OSError as error:
        raise SetupError(f"cannot write {path}: {error.strerror}") from None


def _same_owner(folder: Path, draft: Path) -> None:
    """The worker may run as another user than this tool."""
    owner = folder.stat()
    if owner.st_uid != os.geteuid() and os.geteuid() == 0:
        os.chown(draft, owner.st_uid, owner.st_gid)
