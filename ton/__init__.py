"""Payments on TON: cells, chain access, the embedded devnet, channels and wallets."""
