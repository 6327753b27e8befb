"""The role that runs models: identity, admission, engines and the link (SPEC 4)."""
