"""AMD's generations of processors: names, layouts, authorities (SPEC 17.5)."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from bombyx.attestation.snp import genoa, milan, turin

_ZEN3, _ZEN5 = 0x19, 0x1A
"""CPU families (AMD's CPUID, extended)."""
_MODELS: Final = (
    (_ZEN3, range(0x10), "milan"),
    (_ZEN3, range(0x10, 0x20), "genoa"),
    (_ZEN3, range(0xA0, 0xB0), "genoa"),
    (_ZEN5, range(0x12), "turin"),
)
_TCB_BYTES: Final = MappingProxyType({"bl": 0, "tee": 1, "snp": 6, "ucode": 7})
_TURIN_BYTES: Final = MappingProxyType({"fmc": 0, "bl": 1, "tee": 2, "snp": 3, "ucode": 7})


@dataclass(frozen=True, slots=True)
class Product:
    """One generation; certificates in DER, `components` the places of TCB parts in their 8 bytes.

    `ask` vouches for keys of chips (VCEK), `asvk` for keys of clouds (VLEK).
    """

    name: str
    ark: bytes
    ask: bytes
    asvk: bytes
    components: Mapping[str, int]

    def tcb(self, raw: bytes) -> dict[str, int]:
        """The parts of a TCB version of 8 bytes."""
        return {name: raw[at] for name, at in self.components.items()}


PRODUCTS: Final[Mapping[str, Product]] = MappingProxyType(
    {
        "milan": Product("milan", milan.ARK, milan.ASK, milan.ASVK, _TCB_BYTES),
        "genoa": Product("genoa", genoa.ARK, genoa.ASK, genoa.ASVK, _TCB_BYTES),
        "turin": Product("turin", turin.ARK, turin.ASK, turin.ASVK, _TURIN_BYTES),
    }
)


def product_of_cpu(family: int, model: int) -> Product | None:
    """The generation that a report of version 3 or later names, or None: unknown."""
    for wanted, models, name in _MODELS:
        if family == wanted and model in models:
            return PRODUCTS[name]
    return None
