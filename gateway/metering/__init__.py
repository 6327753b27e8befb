"""Claims before work, settlements after it, on any number of processes (SPEC 5, 6)."""
