"""Cells as typed values, and back: what is on the chain, and nothing about how it gets there."""
