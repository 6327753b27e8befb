"""The checks, an area to a module."""
