"""Tickets (SPEC 5.3)."""

from typing import Any, cast

import msgspec
import pytest

from bombyx import canonical
from bombyx.errors import BadTicket
from gateway.metering.ticket import MAX_BYTES, Ticket, TicketBox

_TICKET = Ticket(account="alice", reserve="100", c="ab" * 32, deadline=1_900_000_000, attempt=2)
_NONCE = bytes(range(12))
_SPELT_ANEW = canonical.encode(_TICKET).replace(b'"100"', b'"0100"')


def _box(first: int = 7) -> TicketBox:
    return TicketBox(bytes([first]) * 32)


def test_a_ticket_opens_with_the_key_it_was_sealed_with() -> None:
    assert _box().open(_box().seal(_TICKET, _NONCE)) == _TICKET


def test_the_longest_ticket_fits() -> None:
    account = "é" * 128
    longest = Ticket(account, str(10**18 - 1), "f" * 64, deadline=2**53 - 1, attempt=1_000)
    paid = msgspec.structs.replace(longest, account="a" * 128, channel="e" * 64, key="k" * 32)
    assert _box().open(_box().seal(paid, _NONCE)) == paid
    text = _box().seal(longest, _NONCE)
    assert len(text) <= 2 * MAX_BYTES
    assert _box().open(text) == longest


def test_a_ticket_that_would_be_too_long_is_not_made() -> None:
    with pytest.raises(ValueError, match="too long"):
        _box().seal(Ticket("x" * 600, "1", "f" * 64, deadline=1, attempt=1), _NONCE)


_SEALED = _box().seal(_TICKET, _NONCE)


@pytest.mark.spec("5.3-a")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "zz",
        "00" * 11,
        "00" * 12,
        "00" * 600,
        _SEALED[:-2],
        _SEALED.upper(),
        " " + _SEALED,
        _SEALED[:-1] + ("0" if _SEALED[-1] != "0" else "1"),
        _box(8).seal(_TICKET, _NONCE),
        _box().seal(cast(Ticket, msgspec.Raw(_SPELT_ANEW)), _NONCE),
    ],
)
def test_everything_else_is_refused_alike(text: str) -> None:
    with pytest.raises(BadTicket):
        _box().open(text)


@pytest.mark.parametrize("make", [lambda: TicketBox(b"short"), lambda: _box().seal(_TICKET, b"")])
def test_wrong_lengths_are_programming_errors(make: Any) -> None:
    with pytest.raises(ValueError, match="bytes"):
        make()
