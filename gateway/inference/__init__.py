"""The hot path: bare ASGI endpoints from a client's bytes to a worker's and back."""
