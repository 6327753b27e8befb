"""Which worker runs a request, and who waits while all are full: pure, times are arguments."""
