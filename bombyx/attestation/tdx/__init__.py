"""Verifies Intel TDX quotes (SPEC 17.4)."""
