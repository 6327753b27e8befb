"""The adversary that ships with the protocol: attacks on gateways, workers, clients and sidecars.

Each attack plays a malicious party with an implementation of its own, observes what its victim did,
and says whether it was defeated. Well-formed bytes come from the pure core; nothing is imported
from the gateway or the worker, so that any implementation of the protocol can be the victim.
"""
