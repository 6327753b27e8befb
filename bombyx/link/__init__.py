"""`bombyx-link/1`: many requests over one WebSocket that the worker dialled (SPEC 10)."""
