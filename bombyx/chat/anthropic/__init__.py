"""`/v1/messages`: Anthropic's dialect, over chat completions (SPEC 4.1)."""
