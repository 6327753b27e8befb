"""Networks of real processes that are killed at random (SPEC 6.9): `make chaos`."""
