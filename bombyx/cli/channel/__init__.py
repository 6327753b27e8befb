"""`bombyx channel`: payment channels of a wallet, from opening to the last nano (SPEC 7 to 9)."""
