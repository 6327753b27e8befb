"""REST for administrators; admin keys only."""
