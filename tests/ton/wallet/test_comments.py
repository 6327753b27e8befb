"""Memos: what other wallets write is read, and nothing else is text."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ton.comments import comment
from ton.codec.cells import Writer
from ton.wallet.comments import MAX_TEXT, read_comment


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=240))
def test_what_is_written_is_read(text: str) -> None:
    assert read_comment(comment(text)) == text


def test_a_long_one_goes_on_in_other_cells() -> None:
    assert read_comment(comment("hello" * 60)) == "hello" * 60


def test_what_is_no_text_is_none() -> None:
    assert read_comment(None) is None
    assert read_comment(Writer().cell()) is None
    assert read_comment(Writer().uint(1, 32).cell()) is None
    assert read_comment(Writer().uint(0, 32).uint(1, 7).cell()) is None
    assert read_comment(Writer().uint(0, 32).uint(0xFF, 8).cell()) is None
    assert read_comment(comment("x" * MAX_TEXT)) is not None
    assert read_comment(comment("x" * (MAX_TEXT + 1))) is None
