"""No signed byte of genuine evidence can change; `python -m tests.sweep` tries every one."""

import pytest

from tests.sweep.targets import TARGETS, Target, accepted_cuts, accepted_flips

STRIDE = 37
"""A sweep of all bytes takes minutes; prime, so that it meets every part of every layout."""


@pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])
def test_no_signed_byte_can_change(target: Target) -> None:
    assert accepted_flips(target, range(0, len(target.data), STRIDE)) == []


@pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])
def test_nothing_can_be_cut_off(target: Target) -> None:
    assert accepted_cuts(target, range(0, len(target.data), 3 * STRIDE)) == []
