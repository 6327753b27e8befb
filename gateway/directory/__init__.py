"""Who serves what: the directory that clients verify, and OpenAI's list of models."""
