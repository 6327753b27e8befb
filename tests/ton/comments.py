"""Transfers with a text, as every wallet writes them."""

from pytoniq_core import Cell, begin_cell

from ton.wallet.comments import TEXT


def comment(text: str) -> Cell:
    """The body of a transfer with this text, by pytoniq-core."""
    cell: Cell = begin_cell().store_uint(TEXT, 32).store_snake_string(text).end_cell()
    return cell
