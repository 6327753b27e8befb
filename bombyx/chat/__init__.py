"""The little of OpenAI's dialect that this software reads and writes (SPEC 2.3-2.6, 12)."""
