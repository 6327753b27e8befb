"""The sealed client: a session without I/O, transports for the OpenAI SDKs, the sidecar."""
