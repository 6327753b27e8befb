"""TLS certificates that carry evidence for their own key (SPEC 17.11)."""
