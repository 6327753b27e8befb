"""Thousands of random transactions in the real TVM: nothing is lost, nobody gets more than is his.

`make mutants` shows that the same walk notices each guard of the contract that is taken away.
"""

import pytest
from pytoniq_core import Cell

from tests.ton.walk import Walk
from ton.codec.constants import Err
from ton.tvm.machine import Tvm

SEEDS = (1, 2, 3, 4)
TRANSACTIONS = 550


@pytest.mark.spec("7.4-a", "7.4-b", "7.4-c", "9.1-a", "9.1-b", "9.3-a", "9.4-a")
@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_comes_the_contract_keeps_its_rules_to_the_nano(
    tvm: Tvm, code: Cell, seed: int
) -> None:
    walk = Walk(tvm, code, seed)
    walk.run(TRANSACTIONS)
    assert walk.transactions >= TRANSACTIONS
    done = {name for name, code in walk.endings if code == 0}
    refused = {code for _, code in walk.endings}
    assert {"top_up", "claim", "coop_close", "start_close", "finish_close", "gateway_close"} <= done
    assert set(Err) <= refused


def test_all_walks_together_are_long_enough() -> None:
    assert len(SEEDS) * TRANSACTIONS >= 2_000
