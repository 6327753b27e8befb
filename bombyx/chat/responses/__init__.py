"""`/v1/responses`: OpenAI's newer dialect, without its memory (SPEC 4.1)."""
