"""Prices, statements, receipts and their settlement: integers only (SPEC 1, 6)."""
