"""The network configuration that a machine runs under: mainnet's, with its prices of today.

A full configuration of 2026 is refused by the emulator (it knows global version 12), so only what
costs are made of is replaced in the one that comes with it: parameters 18, 20, 21, 24 and 25, and
19, the network's id. Prices are in nano; "/65536" marks fixed-point numbers.
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import Self

from pytoniq_core import Cell, HashMap

from ton.codec.cells import Reader, Writer, parse_boc, read_dict

MAINNET, TESTNET = -239, -3
"""Ids of the public networks; private ones choose their own, so that no signature crosses over."""
THIRD = 21_845
"""A third of 65536: the part of forward fees that goes to the first shard."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What a workchain charges; gas, bit, cell and rent prices are /65536, rent is per second.

    The first `flat_gas` units together cost `flat_price` nano.
    """

    gas_price: int
    flat_gas: int
    flat_price: int
    lump: int
    bit_price: int
    cell_price: int
    rent_bit: int
    rent_cell: int

    def gas_fee(self, gas: int) -> int:
        """What gas costs, in nano."""
        beyond = max(0, gas - self.flat_gas)
        return self.flat_price + _up(beyond * self.gas_price) if gas else 0

    def forward_fee(self, bits: int = 0, cells: int = 0) -> int:
        """What a message costs whose cells below the root hold that much, in nano."""
        return self.lump + _up(self.bit_price * bits + self.cell_price * cells)

    def rent(self, seconds: int, *, bits: int, cells: int) -> int:
        """What a state costs for some seconds, in nano."""
        return _up((self.rent_bit * bits + self.rent_cell * cells) * seconds)

    def times(self, factor: int) -> Self:
        """The same, all of it dearer."""
        return replace(
            self, gas_price=self.gas_price * factor, flat_price=self.flat_price * factor,
            lump=self.lump * factor, bit_price=self.bit_price * factor,
            cell_price=self.cell_price * factor, rent_bit=self.rent_bit * factor,
            rent_cell=self.rent_cell * factor,
        )  # fmt: skip


def _up(fixed: int) -> int:
    """A /65536 number as nano, rounded up."""
    return -(-fixed >> 16)


BASECHAIN_2026 = Prices(
    gas_price=4_369_067, flat_gas=100, flat_price=6_667,
    lump=66_667, bit_price=4_369_067, cell_price=436_906_667, rent_bit=0, rent_cell=135,
)  # fmt: skip
"""Mainnet's prices since 30 April 2026."""
MASTERCHAIN = Prices(
    gas_price=655_360_000, flat_gas=100, flat_price=1_000_000,
    lump=10_000_000, bit_price=655_360_000, cell_price=65_536_000_000,
    rent_bit=1_000, rent_cell=500_000,
)  # fmt: skip


def network_config(
    base: bytes, *, network: int = MAINNET, prices: Prices = BASECHAIN_2026
) -> bytes:
    """A configuration (a bag of cells) for `Emulator`, from the one that came with it."""
    changed = {
        18: _rent(prices, MASTERCHAIN),
        19: Writer().signed(network, 32).cell(),
        20: _gas(MASTERCHAIN, special=70_000_000, block=2_500_000),
        21: _gas(prices, special=1_000_000, block=10_000_000),
        24: _forward(MASTERCHAIN),
        25: _forward(prices),
    }
    parameters = HashMap(32, value_serializer=lambda cell, builder: builder.store_ref(cell))
    for key, cell in _parameters(base).items():
        parameters.set_int_key(key, changed.get(key, cell))
    root = parameters.serialize()
    if root is None:
        raise ValueError("the configuration is empty")
    return bytes(root.to_boc())


def prices_of(config: bytes) -> Prices:
    """The basechain's prices in a configuration; raises `MalformedCell`."""
    found = _parameters(config)
    gas, forward = Reader(found[21]).tag(0xD1, 8), Reader(found[25]).tag(0xEA, 8)
    flat_gas, flat_price = gas.uint(64), gas.uint(64)
    gas.tag(0xDE, 8)
    rents = read_dict(found[18], 32)
    newest = Reader(rents[max(rents)]).tag(0xCC, 8)
    newest.uint(32)
    return Prices(
        gas_price=gas.uint(64), flat_gas=flat_gas, flat_price=flat_price,
        lump=forward.uint(64), bit_price=forward.uint(64), cell_price=forward.uint(64),
        rent_bit=newest.uint(64), rent_cell=newest.uint(64),
    )  # fmt: skip


@cache
def _parameters(config: bytes) -> dict[int, Cell]:
    return {key: Reader(value).ref() for key, value in read_dict(parse_boc(config), 32).items()}


def _gas(prices: Prices, *, special: int, block: int) -> Cell:
    writer = Writer().uint(0xD1, 8).uint(prices.flat_gas, 64).uint(prices.flat_price, 64)
    writer.uint(0xDE, 8).uint(prices.gas_price, 64).uint(1_000_000, 64).uint(special, 64)
    writer.uint(10_000, 64).uint(block, 64)
    return writer.uint(100_000_000, 64).uint(1_000_000_000, 64).cell()


def _forward(prices: Prices) -> Cell:
    writer = Writer().uint(0xEA, 8).uint(prices.lump, 64).uint(prices.bit_price, 64)
    return (
        writer.uint(prices.cell_price, 64).uint(98_304, 32).uint(THIRD, 16).uint(THIRD, 16).cell()
    )


def _rent(basechain: Prices, masterchain: Prices) -> Cell:
    """One price since the beginning of time: what it was before this one, nobody here must know."""
    row = Writer().uint(0xCC, 8).uint(0, 32)
    for prices in (basechain, masterchain):
        row.uint(prices.rent_bit, 64).uint(prices.rent_cell, 64)
    rows = HashMap(32, value_serializer=lambda cell, builder: builder.store_cell(cell))
    rows.set_int_key(0, row.cell())
    root = rows.serialize()
    if root is None:
        raise ValueError("the table of rents is empty")
    return root
