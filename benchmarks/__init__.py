"""CPU per unit of the hot paths, measured by the kernel's accounting; never asserted in tests."""
