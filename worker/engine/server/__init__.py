"""Model servers that run as processes of their own, started and watched here: SGLang and vLLM."""
