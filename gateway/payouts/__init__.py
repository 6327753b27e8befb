"""Paying the owners of workers by channel: the other side of `gateway.channels` (SPEC 8)."""
