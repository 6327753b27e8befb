"""Long runs that look for what grows: memory, descriptors, statements that nobody bills."""
