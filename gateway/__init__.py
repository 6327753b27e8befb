"""The gateway: authenticates, routes, meters and relays requests that it cannot read."""
