"""Which commands there are, which of them this machine has, and how the others are installed.

Reads entry points and looks for files; imports no command, so that `bombyx --help` stays fast.
"""

import sys
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from bombyx.errors import SetupError

GROUP = "bombyx.commands"

# Shown by --help without importing the command; the order is the order shown.
SUMMARIES = {
    "demo": "Start a whole network, stream one sealed answer, show its proof and price, stop.",
    "up": "Start the same network and leave it running.",
    "gateway": "Run the gateway: route, meter and bill what it cannot read.",
    "worker": "Run a worker: open sealed requests beside a model, and sign what was done.",
    "proxy": "Run the local sidecar: seal what any OpenAI SDK sends.",
    "channel": "Open, fill and close the payment channels that pay for requests.",
    "owner": "See what your workers earn, and why they are asked or not.",
    "devnet": "Run a TON chain on this machine, with a faucet.",
    "keys": "Create and list API keys.",
    "ledger": "Prove that the gateway's ledger is what workers signed.",
    "db": "Create, upgrade or check the gateway's database.",
    "collateral": "Keep what hardware vendors publish, as a file for whoever is offline.",
    "policy": "Write and explain which workers may be sealed to.",
    "verify": "Verify workers' evidence, step by step.",
    "evidence": "Examine raw evidence of machines, offline.",
    "receipt": "Verify a receipt, offline.",
    "attack": "Play every adversary of the threat model against a network, and say who won.",
    "conformance": "Check that a gateway, anybody's, speaks OpenAI's API.",
    "models": "Fetch, name and check the models to serve.",
    "doctor": "Examine this machine: what a worker on it would lack.",
    "config": "Show the settings and where each came from.",
}

# The distribution that brings a top-level package, for the sentence about what to install.
DISTRIBUTIONS = {"gateway": "bombyx-gateway", "worker": "bombyx-worker", "ton": "bombyx-ton"}


def installed() -> dict[str, EntryPoint]:
    """Every command declared, in the order to show, whether or not its code is here."""
    found = {point.name: point for point in entry_points(group=GROUP)}
    order = [*SUMMARIES, *sorted(found.keys() - SUMMARIES.keys())]
    return {name: found[name] for name in order if name in found}


def is_present(point: EntryPoint) -> bool:
    """Whether the command's module lies on this machine; looks for it without importing it."""
    places: list[str] = sys.path
    for part in point.module.split("."):
        spec = PathFinder.find_spec(part, places)
        if spec is None or (
            spec.origin is None and not _holds_code(spec.submodule_search_locations)
        ):
            return False
        places = list(spec.submodule_search_locations or ())
    return True


def load(point: EntryPoint) -> Any:
    """The command's target. Raises SetupError, naming what to install, when its code is absent."""
    if not is_present(point):
        raise SetupError(f"bombyx {point.name}: install {_distribution(point)}")
    try:
        module = import_module(point.module)
    except ModuleNotFoundError as error:
        raise _lacking(point, error) from error
    return getattr(module, point.attr)


def _holds_code(folders: Any) -> bool:
    """A folder without `__init__.py` is importable, even an empty one; that is no package."""
    return any(next(Path(folder).glob("*.py"), None) for folder in folders or ())


def _distribution(point: EntryPoint) -> str:
    top = point.module.partition(".")[0]
    return DISTRIBUTIONS.get(top, top)


def _lacking(point: EntryPoint, error: ModuleNotFoundError) -> SetupError:
    """The command's code is here and something that it imports is not: an extra left out."""
    distribution = _distribution(point)
    extra = point.name if distribution == "bombyx" else ""
    wanted = f"'{distribution}[{extra}]'" if extra else distribution
    return SetupError(f"bombyx {point.name}: the module {error.name} is missing; install {wanted}")
