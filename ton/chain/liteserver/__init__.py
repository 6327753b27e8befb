"""A TON liteserver as a `Node`: ADNL over TCP, account states with their Merkle proofs (SPEC 7.1).

No library: pytoniq-core, which everything here stands on, has cells and hashes; what is missing is
a handshake, eight TL records and a walk along one path of a proof. See ADR 0011.
"""
