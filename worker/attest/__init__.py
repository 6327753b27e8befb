"""How a worker proves what it is: the port to its hardware, and the simulated platform."""
