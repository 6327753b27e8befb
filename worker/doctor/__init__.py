"""`bombyx doctor`: what a GPU owner's machine lacks (docs/hardware.md)."""
