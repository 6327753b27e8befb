"""A network of one's own to attack: gateway, two workers, sidecar, each a process (SPEC 17)."""

import asyncio
import contextlib
import os
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiohttp

from bombyx.attack.means.simulator import open_simulator
from bombyx.attack.target import Need, Started, Target
from bombyx.attestation.policy import parse_policy
from bombyx.cli.network.errand import run_errand
from bombyx.cli.network.network import CREDIT_NANO, Network, running
from bombyx.cli.network.plan import EngineKind, Wish, gateway_recipe, worker_recipe
from bombyx.cli.network.state import fresh_log, read_private, share_models, write_private

FIRST_PORT, PORTS_EACH = 20_000, 10
"""Where to look for free ports: apart from those of `bombyx up`, and of others that attack now."""
MOST_AT_ONCE = 1_000
SECOND_SLOT = 1
LURED = 9
"""The number of the first worker that is started for an attack."""
_SECOND_KEY = "second-api-key"

Say = Callable[[str], None]


@contextlib.contextmanager
def own_network(folder: Path, *, say: Say) -> Iterator[Network]:
    """A network with the scripted engine in `folder`; raises `SetupError`."""
    port = FIRST_PORT + os.getpid() % MOST_AT_ONCE * PORTS_EACH
    wish = Wish(EngineKind.SCRIPTED, None, 2, port + PORTS_EACH // 2, port)
    with running(folder, wish, say=say) as network:
        yield network


@contextlib.asynccontextmanager
async def targeting(
    network: Network | None, *, needs: frozenset[Need], client: tuple[str, ...]
) -> AsyncIterator[Target]:
    """The network as a target; without one, what can be attacked in this process alone."""
    async with aiohttp.ClientSession(trust_env=False) as http:
        if network is None:
            yield Target(http)
            return
        state, starter = network.state, _Starter(network)
        target = Target(
            http,
            gateway=network.gateway,
            api_key=network.keys.api_key,
            admin_key=network.keys.admin_key,
            second_key=_second_key(network) if Need.SECOND_ACCOUNT in needs else "",
            policy=parse_policy(tomllib.loads(state.policy.read_text(encoding="utf-8"))),
            sidecar=network.sidecar,
            simulator=open_simulator(state.simulated_root),
            folder=state.folder,
            start_worker=starter.start,
            start_gateway=starter.start_gateway,
            policy_file=state.policy,
            client=client,
            pids=tuple(network.supervisor.pids().values()),
        )
        async with target.stack:
            yield target


def _second_key(network: Network) -> str:
    """The key of another account with credit; found again on the next start."""
    file = network.state.folder / _SECOND_KEY
    if key := read_private(file):
        return key
    where = ("--state", str(network.state.folder))
    create = ("keys", "create", *where, "--name", "other", "--credit-nano", str(CREDIT_NANO))
    key = str(run_errand(create, log=fresh_log(network.state, "second-key"))["api_key"])
    write_private(file, key + "\n")
    return key


class _Starter:
    """Starts a worker for whoever asks for one, and a second process of the gateway."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._number = LURED

    async def start(self, gateway: str) -> None:
        """Start one that dials `gateway`; returns when it is linked there."""
        state, number = self._network.state, self._number
        self._number += 1
        share_models(state, number)
        recipe = worker_recipe(state, Wish(EngineKind.SCRIPTED), number, gateway=gateway)
        # In a thread: the worker is ready only once our own loop has answered it.
        await asyncio.to_thread(self._network.supervisor.start, [recipe])

    async def start_gateway(self) -> Started:
        """Start the process of another slot, on the same database."""
        recipe = gateway_recipe(self._network.state, port=0, slot=SECOND_SLOT)
        supervisor = self._network.supervisor
        (ready,) = await asyncio.to_thread(supervisor.start, [recipe])
        pid = supervisor.pids()[recipe.name]
        return Started(str(ready["url"]), str(ready["link_url"]), pid)
