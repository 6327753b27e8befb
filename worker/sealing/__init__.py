"""Where a worker's key for what it keeps on disk comes from: the machine, or a file (SPEC 21)."""
