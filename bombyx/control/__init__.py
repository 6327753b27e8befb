"""How the owner's tools talk to a worker of this machine: orders, and what it tells of itself."""
