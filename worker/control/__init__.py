"""Orders to a running worker from its own machine: a unix socket in its state folder."""
