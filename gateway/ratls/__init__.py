"""The gateway's own evidence: a TLS certificate that carries it (SPEC 17.11)."""
