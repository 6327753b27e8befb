"""The owner is told of a gateway that owes too much, for as long as it does."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bombyx.errors import Draining, Unpaid
from bombyx.units import Nano
from worker.ledger.credit import Credit
from worker.notices import Notices
from worker.paying import Reserver

GATEWAY = "ab" * 32


class Debts:
    """What one gateway owes, and what its worker says of it."""

    def __init__(self) -> None:
        self.owed = 0
        self.journal = cast("Any", SimpleNamespace(trouble=None))
        self.notices = Notices(lambda: 1)
        self.credit = Credit(lambda _: self.owed, limit=lambda _: 100, places=10)
        self.reserve = Reserver(self.credit, self.journal, self.notices)

    @property
    def told(self) -> list[str]:
        return [one["sentence"] for one in self.notices.document()]


def test_a_gateway_that_owes_too_much_is_named_until_it_has_paid() -> None:
    debts = Debts()
    debts.reserve(GATEWAY, Nano(60))
    debts.reserve.look_again()
    assert debts.told == []
    debts.owed = 90
    with pytest.raises(Unpaid):
        debts.reserve(GATEWAY, Nano(60))
    debts.reserve.look_again()
    assert debts.told == [f"gateway {GATEWAY[:16]} owes too much: its requests are refused"]
    debts.owed = 0
    debts.reserve.look_again()
    assert debts.told != []  # what runs counts too, and the request that was refused
    debts.credit.release(GATEWAY, Nano(60))
    debts.reserve.look_again()
    assert debts.told == []


def test_a_journal_that_cannot_be_written_takes_nothing(tmp_path: Path) -> None:
    debts = Debts()
    debts.journal.trouble = f"{tmp_path} is full"
    with pytest.raises(Draining):
        debts.reserve(GATEWAY, Nano(1))
    assert debts.told == []
