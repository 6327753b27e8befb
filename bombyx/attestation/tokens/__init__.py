"""Verifies attestation tokens, a second opinion on evidence (SPEC 17.8)."""
