"""The hot path: exchanges from a client's bytes to a worker's and back."""
