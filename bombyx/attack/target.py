"""What is attacked: a running gateway, its sidecar, its files, and what the attacker holds."""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from bombyx.attack.means.simulator import Simulator
from bombyx.attestation.policy import Policy

StartWorker = Callable[[str], Awaitable[None]]


class Started(NamedTuple):
    """A process that was started for an attack: where clients and workers reach it."""

    url: str
    link_url: str
    pid: int


StartGateway = Callable[[], Awaitable[Started]]
"""Starts another process of the same gateway."""


class Need(StrEnum):
    """What an attack needs of its target."""

    GATEWAY = "gateway"
    SECOND_ACCOUNT = "second account"
    SIMULATOR = "simulated root"
    WORKER = "worker process"
    SECOND_PROCESS = "second gateway process"
    PIN = "pinned gateway key"
    SIDECAR = "sidecar"
    FOLDER = "state folder"
    LIBRARY = "this library"


@dataclass(slots=True)
class Target:
    """A victim; what is absent is not attacked."""

    http: aiohttp.ClientSession
    gateway: str = ""
    api_key: str = field(default="", repr=False)
    policy: Policy | None = None
    second_key: str = field(default="", repr=False)
    admin_key: str = field(default="", repr=False)
    sidecar: str = ""
    simulator: Simulator | None = None
    folder: Path | None = None
    start_worker: StartWorker | None = None
    start_gateway: StartGateway | None = None
    pids: tuple[int, ...] = ()
    policy_file: Path | None = None
    client: tuple[str, ...] = ()
    """A command to be the client that a false gateway deceives, in place of our library."""
    is_stranger: bool = False
    """Whether the victim is somebody else's: then attacks on this library say nothing of it."""
    stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)
    """What attacks leave running for each other; closed after the last one."""
    kept: dict[str, Any] = field(default_factory=dict)

    @property
    def forge(self) -> Simulator:
        """The simulated root; raises `ValueError` where an attack did not say that it needs one."""
        if self.simulator is None:
            raise ValueError("the target has no simulated root")
        return self.simulator

    @property
    def has(self) -> frozenset[Need]:
        """What attacks may rely on."""
        return frozenset(
            need
            for need, there in {
                Need.GATEWAY: self.gateway and self.policy,
                Need.SECOND_ACCOUNT: self.second_key,
                Need.SIMULATOR: self.simulator,
                Need.WORKER: self.start_worker,
                Need.SECOND_PROCESS: self.start_gateway and self.start_worker,
                Need.PIN: self.policy and self.policy.gateways,
                Need.SIDECAR: self.sidecar and self.api_key,
                Need.FOLDER: self.folder,
                Need.LIBRARY: not (self.is_stranger or self.client),
            }.items()
            if there
        )
