"""Accounts, their credit, their API keys and payer keys."""
