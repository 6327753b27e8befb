"""Payment channels on the chain: what is there, what happened, and the messages that move money."""
