"""One admitted request from engine to sealed, signed answer (SPEC 2.6, 3)."""
