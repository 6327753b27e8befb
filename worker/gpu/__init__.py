"""NVIDIA GPUs: what they do, whether they are confidential, their evidence (SPEC 13.5)."""
