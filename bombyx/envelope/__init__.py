"""`bombyx/1` sealed requests and answers: bytes in, bytes out (SPEC 2, 3)."""
