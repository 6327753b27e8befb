"""The attacks, one module for each pair of attacker and victim."""
