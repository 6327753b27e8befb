"""Vendors' words about platforms: fetched once, kept, refreshed, served (SPEC 17.10)."""
