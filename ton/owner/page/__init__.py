"""The owner's view as a page of this machine."""
