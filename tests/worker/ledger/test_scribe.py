"""SPEC 1.3 and 1.5: gapless numbers, one chain, batches that anyone can check."""

import pytest

from bombyx import canonical
from bombyx.link.documents import Settle
from bombyx.money.batch import MAX_LEAVES, leaf_hash, root
from bombyx.money.cost import Tokens
from bombyx.money.receipt import verify_receipt
from bombyx.money.statement import GENESIS, Status, statement_hash
from bombyx.signing import Kind, verify
from tests.worker.ledger.samples import GATEWAY, SIGNER, make_scribe, matter, point


@pytest.mark.spec("1.3-a")
def test_statements_are_numbered_without_a_gap_and_chained() -> None:
    scribe = make_scribe()
    written = [scribe.write(matter(number), point()) for number in range(5)]
    assert [one.n for one in written] == [0, 1, 2, 3, 4]
    assert written[0].prev == GENESIS
    assert [one.prev for one in written[1:]] == [statement_hash(one).hex() for one in written[:-1]]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64])
def test_every_statement_of_a_batch_has_a_receipt_that_verifies(count: int) -> None:
    scribe = make_scribe()
    scribe.write(matter(99), point())
    scribe.flush()
    written = [scribe.write(matter(number), point()) for number in range(count)]
    receipts = scribe.flush()
    assert [receipt.statement for receipt in receipts] == written
    for receipt in receipts:
        verify_receipt(receipt, SIGNER.public_key)
        assert (receipt.batch.first_n, receipt.batch.count) == (1, count)
    assert scribe.flush() == []


@pytest.mark.spec("1.5-b")
def test_a_batch_holds_64_statements_at_most() -> None:
    scribe = make_scribe()
    for number in range(MAX_LEAVES):
        scribe.write(matter(number), point())
    with pytest.raises(ValueError, match="64"):
        scribe.write(matter(64), point())


@pytest.mark.spec("1.5-a")
def test_settle_signs_the_leaves_of_all_statements_in_order() -> None:
    scribe = make_scribe()
    written = []
    for number in range(70):
        written.append(scribe.write(matter(number), point(Status.PARTIAL)))
        scribe.flush()
    batches: list[Settle] = []
    while (settle := scribe.settle()) is not None:
        batches.append(settle)
    assert [len(one.leaves) for one in batches] == [64, 6]
    assert [one.batch.first_n for one in batches] == [0, 64]
    leaves = [leaf for one in batches for leaf in one.leaves]
    assert leaves == [leaf_hash(canonical.encode(one)).hex() for one in written]
    for one in batches:
        assert one.batch.root == root([bytes.fromhex(leaf) for leaf in one.leaves]).hex()
        assert one.batch.gateway == GATEWAY
        verify(Kind.SETTLE, one.batch, bytes.fromhex(one.signature), SIGNER.public_key)


@pytest.mark.spec("2.6-d")
def test_a_charge_above_the_request_s_cap_is_never_written() -> None:
    scribe = make_scribe()
    with pytest.raises(ValueError, match="max_cost_nano"):
        scribe.write(matter(max_cost=20), point(tokens=Tokens(prompt=10, completion=5)))
    assert scribe.unsigned == 0
    exact = scribe.write(matter(max_cost=21), point(tokens=Tokens(prompt=10, completion=5)))
    assert (exact.amount_nano, exact.fee_nano, exact.charge_nano) == ("20", "1", "21")
    assert exact.n == 0
