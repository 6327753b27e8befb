"""Verifies AMD SEV-SNP reports (SPEC 17.5)."""
