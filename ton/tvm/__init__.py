"""The real TVM, in this process: what the devnet and the contracts' tests execute with."""
