"""The network's own chain: whether this machine can run one, and starting it."""

from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, Final

from bombyx.cli import catalogue
from bombyx.cli.network.plan import ChainKind, chain_recipe
from bombyx.cli.network.ports import free_port
from bombyx.cli.network.state import NetworkState
from bombyx.cli.network.supervisor import Supervisor

PORT: Final = 8181
"""The first to try."""
_TVM: Final = "contracts/node_modules/@ton/sandbox"
_LIBRARIES: Final = ("aiohttp", "py_mini_racer", "pytoniq_core")


def start_chain(
    state: NetworkState, kind: ChainKind, supervisor: Supervisor, say: Callable[[str], None]
) -> dict[str, Any] | None:
    """The devnet's ready line, or None where there is none; raises `SetupError`."""
    if kind is ChainKind.NONE:
        return None
    if kind is ChainKind.AUTO and not is_installed():
        say("no chain: its TVM is not installed (`make tools`), so accounts are prepaid")
        return None
    (ready,) = supervisor.start([chain_recipe(state, port=free_port(PORT))])
    return ready


def is_installed() -> bool:
    """Whether `bombyx devnet` would find all that it needs; imports none of it."""
    point = catalogue.installed().get("devnet")
    if point is None or not catalogue.is_present(point):
        return False
    if any(PathFinder.find_spec(name) is None for name in _LIBRARIES):
        return False
    spec = PathFinder.find_spec("ton")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    return any((Path(folder) / _TVM).is_dir() for folder in folders)
