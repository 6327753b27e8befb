"""Workers that dialled in: their links, what they offer, what they sign."""
