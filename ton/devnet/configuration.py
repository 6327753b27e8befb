"""The devnet's network configuration: mainnet's, less what only a network of many needs."""

from pathlib import Path
from typing import Final

from pytoniq_core import HashMap

from ton.codec.cells import Reader, parse_boc, read_dict
from ton.tvm.emulator import PACKAGES, Emulator, default_config
from ton.tvm.network import network_config

VALIDATORS: Final = frozenset({32, 33, 34, 35, 36, 37})
"""Sets of validators, past to next: nine tenths of the configuration, read at every get method."""
SUSPENDED: Final = frozenset({44})
"""Addresses of mainnet that must not spend; nobody has them here."""


def without(config: bytes, dropped: frozenset[int]) -> bytes:
    """A configuration less some parameters, as a bag of cells."""
    kept = HashMap(32, value_serializer=lambda cell, builder: builder.store_ref(cell))
    for key, value in read_dict(parse_boc(config), 32).items():
        if key not in dropped:
            kept.set_int_key(key, Reader(value).ref())
    root = kept.serialize()
    if root is None:
        raise ValueError("nothing is left of the configuration")
    return bytes(root.to_boc())


def machine(network: int, packages: Path | None = None) -> Emulator:
    """A TVM with mainnet's prices and this network's id; raises `EmulatorMissing`."""
    folder = packages or PACKAGES
    config = network_config(default_config(folder), network=network)
    return Emulator(without(config, VALIDATORS | SUSPENDED), packages=folder)
