"""Evidence of confidential machines, the policy on it, and who may be sealed to (SPEC 17)."""
