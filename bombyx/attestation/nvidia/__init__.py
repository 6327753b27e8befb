"""Verifies evidence of NVIDIA GPUs and switches (SPEC 17.6)."""
