"""Receipts by request id or commitment, for whoever paid."""
