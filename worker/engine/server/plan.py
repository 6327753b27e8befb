"""What is started: which server, on which files, with which limits."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from worker.engine.flavour import Flavour

AUTO = "auto"


class Device(StrEnum):
    """What a server computes on; `cpu` is slow and for tests."""

    GPU = "gpu"
    CPU = "cpu"


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """One server with one model.

    `python` is the interpreter of the environment that holds the server. `context` None means the
    model's own. `flags` are further flags of the server, from its allow-list. Parsers are the
    server's names, `auto` for its own guess, empty for none. `scratch` holds files for the server.
    """

    folder: Path
    model: str
    python: Path
    scratch: Path
    context: int | None = None
    slots: int = 4
    max_waiting: int = 64
    device: Device = Device.GPU
    tool_parser: str = ""
    reasoning_parser: str = ""
    flags: tuple[str, ...] = ()
    bytes_factor: int = 1
    overhead: int = 256
    ready_seconds: float = 3600.0
    """Hundreds of gigabytes through the encrypted bus of a confidential GPU take this long."""
    first_token_seconds: float = 120.0
    idle_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Keys:
    """Drawn anew at every start; whoever has them reads no answers, but can stop them."""

    api: str = field(repr=False)
    admin: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Brand:
    """One kind of server.

    `promised` are the flags that shape answers, which the model's record attests; `private` those
    that differ at each start: address, keys, file names. `deep_path` answers only while the model
    itself does. `flags` maps each further flag that an owner may set to whether it has a value.
    """

    name: str
    package: str
    module: str
    flavour: Flavour
    ready_path: str
    deep_path: str
    flags: frozenset[str]
    switches: frozenset[str]
    promised: Callable[[ServerPlan, int], list[str]]
    private: Callable[[ServerPlan, int, Keys, Path], list[str]]
    environment: Callable[[ServerPlan, Keys], dict[str, str]]
    has_ids: bool
    """Whether every answer must come with its token ids."""
