"""Whom to attack: a network of one's own, or somebody's gateway and sidecar by their URLs."""

import contextlib
import shlex
import tempfile
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from bombyx.attack.means.simulator import open_simulator
from bombyx.attack.own_network import own_network, targeting
from bombyx.attack.record import Attack
from bombyx.attack.target import Need, Target
from bombyx.attestation.policy import Policy, parse_policy
from bombyx.cli.network.network import Network
from bombyx.errors import PolicyError, SetupError

Say = Callable[[str], None]
_IN_PROCESS = frozenset({Need.LIBRARY})


@dataclass(frozen=True, slots=True)
class Against:
    """What the user names; nothing means a network of our own in `state` or a temporary folder."""

    gateway: str = ""
    api_key: str = field(default="", repr=False)
    second_key: str = field(default="", repr=False)
    policy: Path | None = None
    simulated_root: Path | None = None
    sidecar: str = ""
    state: Path | None = None
    client: str = ""

    def __post_init__(self) -> None:
        if self.gateway and not (self.api_key and self.policy):
            raise SetupError("a gateway is attacked with --api-key and --policy")
        if self.sidecar and not self.api_key:
            raise SetupError("a sidecar is attacked with --api-key, which it is asked with")
        for url in filter(None, (self.gateway, self.sidecar)):
            if urlsplit(url).scheme not in ("http", "https"):
                raise SetupError(f"{url!r} is no http(s) URL")

    @property
    def is_own(self) -> bool:
        """Whether no victim is named."""
        return not (self.gateway or self.sidecar)


@contextlib.contextmanager
def battlefield(
    against: Against, attacks: Sequence[Attack], *, say: Say
) -> Iterator[Callable[[], contextlib.AbstractAsyncContextManager[Target]]]:
    """What opens the target inside an event loop; a network of our own runs until the end.

    Raises `SetupError`.
    """
    needs = frozenset(need for attack in attacks for need in attack.needs)
    if not against.is_own:
        yield lambda: strangers(against)
    elif needs <= _IN_PROCESS:
        yield lambda: targeting(None, needs=needs, client=())
    else:
        with _folder(against.state) as folder, own_network(folder, say=say) as network:
            yield _opener(network, needs, tuple(shlex.split(against.client)))


def _opener(
    network: Network, needs: frozenset[Need], client: tuple[str, ...]
) -> Callable[[], contextlib.AbstractAsyncContextManager[Target]]:
    return lambda: targeting(network, needs=needs, client=client)


@contextlib.contextmanager
def _folder(named: Path | None) -> Iterator[Path]:
    if named is not None:
        yield named
        return
    with tempfile.TemporaryDirectory(prefix="bombyx-attack-") as folder:
        yield Path(folder)


@contextlib.asynccontextmanager
async def strangers(against: Against) -> AsyncIterator[Target]:
    """Somebody's gateway and sidecar as a target."""
    async with aiohttp.ClientSession(trust_env=False) as http:
        root = against.simulated_root
        target = Target(
            http,
            gateway=_origin(against.gateway),
            api_key=against.api_key,
            second_key=against.second_key,
            policy=_policy(against.policy) if against.policy else None,
            sidecar=_origin(against.sidecar),
            simulator=open_simulator(root) if root else None,
            policy_file=against.policy,
            is_stranger=True,
            client=tuple(shlex.split(against.client)),
        )
        async with target.stack:
            yield target


def _origin(url: str) -> str:
    return url.rstrip("/").removesuffix("/v1")


def _policy(path: Path) -> Policy:
    try:
        return parse_policy(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        raise PolicyError(f"the policy {path} cannot be read") from None
