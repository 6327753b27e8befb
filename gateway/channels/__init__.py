"""Channels that pay this gateway: rows, requests that they pay for, their end (SPEC 7, 9)."""
