"""Memos: what is written is read, and nothing else is text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytoniq_core import begin_cell

from ton.codec.cells import Writer
from ton.errors import MalformedCell
from ton.wallet.comments import MAX_TEXT, comment, read_comment


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=240))
def test_what_is_written_is_read(text: str) -> None:
    assert read_comment(comment(text)) == text


def test_it_is_what_other_wallets_write() -> None:
    theirs = begin_cell().store_uint(0, 32).store_snake_string("hello" * 60).end_cell()
    assert read_comment(theirs) == "hello" * 60


def test_what_is_no_text_is_none() -> None:
    assert read_comment(None) is None
    assert read_comment(Writer().cell()) is None
    assert read_comment(Writer().uint(1, 32).cell()) is None
    assert read_comment(Writer().uint(0, 32).uint(1, 7).cell()) is None
    assert read_comment(Writer().uint(0, 32).uint(0xFF, 8).cell()) is None
    long = begin_cell().store_uint(0, 32).store_snake_string("x" * (MAX_TEXT + 1)).end_cell()
    assert read_comment(long) is None
    with pytest.raises(MalformedCell):
        comment("x" * (MAX_TEXT + 1))
