"""What a worker's owner does, outside of the enclave: look, be paid."""
