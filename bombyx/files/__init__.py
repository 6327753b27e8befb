"""Files on disk that must be neither lost nor seen: for roles, client and tools alike."""
