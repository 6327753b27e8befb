"""What a worker earns and does, and why it is not asked: one view of worker, gateway and market."""
