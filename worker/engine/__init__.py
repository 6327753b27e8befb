"""Engines: what turns an admitted body into tokens, behind one port (SPEC 2.6, 12)."""
