"""A wallet of one's own: keys, W5 messages, and an outbox that sends each order exactly once."""
