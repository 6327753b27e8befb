"""The gateway's part on the chain: it watches channels, claims, takes deposits and pays out.

One process does this, the one with the lowest slot that lives; that two never pay the same order
is kept by the outbox in the database and the wallet's seqno, not by who runs.
"""
