"""Verifies quotes of virtual TPMs (SPEC 17.7)."""
