"""Many processes of one gateway on one database: supervised, known to each other (SPEC 10.5)."""
