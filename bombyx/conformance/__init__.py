"""Whether a gateway speaks OpenAI's API: named checks against any URL, each with what it rests on.

Needs nothing of the gateway but HTTP, and no SDK: what a check reads is what came over the wire.
"""
