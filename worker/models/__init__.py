"""The models that a worker serves: where they lie, what exactly they are (SPEC 1.8)."""
