"""Talking to a chain: one client for devnet, testnet and mainnet, which believes no single node."""
