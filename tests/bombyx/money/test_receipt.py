"""SPEC 1.3, 1.5: statements and receipts that anyone can check."""

import hashlib
from typing import Any

import msgspec
import pytest

from bombyx import canonical
from bombyx.errors import BadReceipt, BadSignature, NotCanonical
from bombyx.money.batch import Batch
from bombyx.money.offer import Prices
from bombyx.money.receipt import Receipt, check_membership, verify_receipt
from bombyx.money.statement import (
    Statement,
    Status,
    TokenCounts,
    check_arithmetic,
    statement_hash,
    tokens_of,
)
from bombyx.signing import Kind
from bombyx.units import MAX_NANO
from tests import factories
from tests.factories import hex_of, worker

KEY = worker().receipt.public_key

OTHER: dict[str, Any] = {
    "v": "bombyx/2",
    "tier": "bare",
    "status": Status.ABORTED,
    "model": "other",
    "prices": Prices(prompt="1", cached="1", completion="1", reasoning="1"),
    "tokens": TokenCounts(prompt=1, cached=1, completion=1, reasoning=1),
    "amount_nano": "1",
    "fee_nano": "9",
    "charge_nano": "3",
    "ticket": "ab",
    "n": 0,
}
_INTEGERS = {"seq", "fee_bps", "resp_ct_bytes", "at"}


def other(field: str) -> Any:
    return OTHER.get(field, 7 if field in _INTEGERS else hex_of("other"))


def batch_of(count: int) -> list[Receipt]:
    return factories.receipts([factories.statement(n=40 + n, seq=n) for n in range(count)])


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64])
def test_every_receipt_of_a_batch_verifies_alone(count: int) -> None:
    for receipt in batch_of(count):
        raw = canonical.encode(receipt)
        verify_receipt(canonical.decode(raw, Receipt), KEY)


@pytest.mark.spec("1.5-c")
@pytest.mark.parametrize("field", Statement.__struct_fields__)
def test_every_field_of_the_statement_is_signed(field: str) -> None:
    receipt = batch_of(3)[1]
    forged = msgspec.structs.replace(receipt.statement, **{field: other(field)})
    assert forged != receipt.statement
    with pytest.raises((BadReceipt, BadSignature)):
        verify_receipt(msgspec.structs.replace(receipt, statement=forged), KEY)


@pytest.mark.parametrize("field", Batch.__struct_fields__)
def test_every_field_of_the_batch_is_signed(field: str) -> None:
    receipt = batch_of(3)[1]
    value = {"count": 4, "first_n": 39}.get(field, hex_of("other"))
    forged = msgspec.structs.replace(receipt.batch, **{field: value})
    with pytest.raises((BadReceipt, BadSignature)):
        verify_receipt(msgspec.structs.replace(receipt, batch=forged), KEY)


@pytest.mark.spec("1.5-c")
def test_a_receipt_of_another_boot_or_gateway_is_refused() -> None:
    receipt = factories.receipt()
    for field in ("boot", "gateway"):
        forged = msgspec.structs.replace(receipt.batch, **{field: hex_of("other")})
        signature = worker().receipt.sign(Kind.BATCH, forged).hex()
        with pytest.raises(BadReceipt, match="another worker boot or gateway"):
            verify_receipt(
                Receipt(statement=receipt.statement, path=[], batch=forged, signature=signature),
                KEY,
            )


def test_a_receipt_under_another_batch_of_the_same_worker_is_refused() -> None:
    first, second = batch_of(2)[0], factories.receipt(n=40, at=5)
    with pytest.raises(BadReceipt, match="not in the batch"):
        check_membership(msgspec.structs.replace(second, batch=first.batch, path=first.path))


def test_a_settle_signature_is_no_batch_signature() -> None:
    receipt = factories.receipt()
    settle = worker().receipt.sign(Kind.SETTLE, receipt.batch).hex()
    with pytest.raises(BadSignature):
        verify_receipt(msgspec.structs.replace(receipt, signature=settle), KEY)


def test_another_workers_key_does_not_vouch() -> None:
    with pytest.raises(BadSignature):
        verify_receipt(factories.receipt(), worker("other").receipt.public_key)


@pytest.mark.spec("1.4-a")
@pytest.mark.parametrize("field", ["amount_nano", "fee_nano", "charge_nano"])
@pytest.mark.parametrize("off", [-1, 1])
def test_a_signed_amount_off_by_one_nano_is_refused(field: str, off: int) -> None:
    right = factories.statement()
    wrong = str(int(getattr(right, field)) + off)
    amounts = {
        name: getattr(right, name) for name in ("amount_nano", "fee_nano", "charge_nano")
    } | {field: wrong}
    with pytest.raises(BadReceipt, match="do not follow"):
        verify_receipt(factories.receipt(**amounts), KEY)


@pytest.mark.parametrize("tokens", [(1, 2, 0, 0), (0, 0, 1, 2)])
def test_contradicting_counts_are_refused(tokens: tuple[int, int, int, int]) -> None:
    counts = TokenCounts(
        prompt=tokens[0], cached=tokens[1], completion=tokens[2], reasoning=tokens[3]
    )
    bad = factories.statement(tokens=counts, amount_nano="0")
    with pytest.raises(BadReceipt, match="within"):
        tokens_of(bad)
    with pytest.raises(BadReceipt, match="within"):
        check_arithmetic(bad)


@pytest.mark.spec("1.4-b")
def test_amounts_beyond_the_largest_are_refused() -> None:
    prices = Prices(prompt=str(MAX_NANO), cached="0", completion="0", reasoning="0")
    counts = TokenCounts(prompt=10**9, cached=0, completion=0, reasoning=0)
    with pytest.raises(BadReceipt, match="largest amount"):
        check_arithmetic(factories.statement(tokens=counts, prices=prices, amount_nano="0"))


def test_the_hash_of_a_statement_is_not_its_leaf() -> None:
    receipt = factories.receipt()
    raw = canonical.encode(receipt.statement)
    assert statement_hash(receipt.statement) == hashlib.sha256(raw).digest()
    assert receipt.batch.root == hashlib.sha256(b"\0" + raw).hexdigest()


@pytest.mark.parametrize("ticket", ["AB", "abc", "zz", "ab" * 513])
def test_a_ticket_is_hex_of_at_most_512_bytes(ticket: str) -> None:
    good = factories.statement(ticket="ab" * 512)
    assert canonical.decode(canonical.encode(good), Statement) == good
    raw = canonical.encode(good).replace(b"ab" * 512, ticket.encode())
    with pytest.raises(NotCanonical):
        canonical.decode(raw, Statement)


def test_a_path_is_at_most_six_long() -> None:
    receipt = msgspec.structs.replace(factories.receipt(), path=[hex_of("x")] * 7)
    with pytest.raises(NotCanonical):
        canonical.decode(canonical.encode(receipt), Receipt)
