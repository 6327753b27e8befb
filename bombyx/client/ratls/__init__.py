"""Connections to gateways that prove themselves in the handshake (SPEC 17.11)."""
