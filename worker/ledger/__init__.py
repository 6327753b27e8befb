"""What the worker signs, keeps until it is settled, and is owed (SPEC 1.3, 6.8, 8)."""
