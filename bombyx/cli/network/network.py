"""Starting and stopping a whole network: what `bombyx up` and `bombyx demo` share."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from bombyx.cli import catalogue
from bombyx.cli.network.books import Books
from bombyx.cli.network.chain import Chain, start_chain
from bombyx.cli.network.errand import run_errand
from bombyx.cli.network.fetching import watched
from bombyx.cli.network.owner import Owner, funded_owner
from bombyx.cli.network.payer import Payer, funded_payer
from bombyx.cli.network.plan import (
    EngineKind,
    Wish,
    database_flags,
    engine_flags,
    gateway_recipe,
    ready_seconds,
    sidecar_recipe,
    worker_recipe,
)
from bombyx.cli.network.policy import local_policy, write_policy
from bombyx.cli.network.ports import free_port
from bombyx.cli.network.state import (
    NetworkState,
    fresh_log,
    occupy,
    read_private,
    share_models,
    write_private,
)
from bombyx.cli.network.supervisor import Supervisor
from bombyx.errors import RemoteError, SetupError

CREDIT_NANO = 10**12
"""What the demo account starts with: a thousand GRAM of a ledger that nobody can withdraw from."""
FETCH_SECONDS = 1200.0
"""A first start fetches the model: 93 MB."""
LISTED_SECONDS = 30.0
"""From a worker's ready line to its place in the directory."""
_POLL_SECONDS = 0.1

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Keys:
    """What opens the gateway; shown only where the user asked for it."""

    api_key: str = field(repr=False)
    admin_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Network:
    """A running network."""

    state: NetworkState
    sidecar: str
    gateway: str
    gateway_key: str
    keys: Keys
    models: tuple[str, ...]
    supervisor: Supervisor
    books: Books
    chain: Chain | None = None
    """The devnet, where there is one."""
    payer: Payer | None = None
    """Whose channels pay for what the sidecar sends; without a chain prepaid credit does."""
    owner: Owner | None = None
    """Whom the workers earn for; without a chain it is accounts of the gateway's ledger."""

    def document(self) -> dict[str, Any]:
        """What `bombyx up --json` prints."""
        return {
            "sidecar": self.sidecar,
            "gateway": self.gateway,
            "api_key": self.keys.api_key,
            "admin_key": self.keys.admin_key,
            "models": list(self.models),
            "policy": str(self.state.policy),
            "chain": None if self.chain is None else self.chain.document,
            "wallet": None if self.payer is None else self.payer.address,
            "owner": None if self.owner is None else self.owner.wallet,
            "pids": self.supervisor.pids(),
        }


@contextlib.contextmanager
def running(folder: Path, wish: Wish, *, say: Say) -> Iterator[Network]:
    """A network in `folder` until the block ends, however it ends; raises `SetupError`."""
    _check_installed()
    with occupy(folder) as state:
        supervisor = Supervisor(say)
        try:
            with contextlib.ExitStack() as stack:
                yield _start(state, wish, supervisor, say, stack)
        finally:
            supervisor.stop()


def _start(
    state: NetworkState,
    wish: Wish,
    supervisor: Supervisor,
    say: Say,
    stack: contextlib.ExitStack,
) -> Network:
    keys = _prepare(state, wish, say)
    for number in range(1, wish.workers + 1):
        share_models(state, number)
    described = _describe(state, wish, say)
    write_policy(state.policy, local_policy(described))
    chain = start_chain(state, wish.chain, supervisor, say)
    if chain is not None:
        stack.callback(chain.close)
    settings = None if chain is None else chain.settings
    port = _port(wish.gateway_port, "gateway", say)
    (gateway,) = supervisor.start([gateway_recipe(state, wish, port=port, chain=settings)])
    url, identity = str(gateway["url"]), str(gateway["gateway"])
    books = stack.enter_context(
        contextlib.closing(Books(url, api_key=keys.api_key, admin_key=keys.admin_key))
    )
    payer = None if chain is None else funded_payer(state, chain, gateway=books.wallet())
    owner = None if chain is None else funded_owner(state, chain)
    # From here on the sidecar seals for this gateway alone, and pays nobody else.
    paid = () if payer is None else (books.channel_key(),)
    write_policy(state.policy, local_policy(described, gateway=identity, channel_keys=paid))
    workers = "one worker" if wish.workers == 1 else f"{wish.workers} workers"
    say(f"starting {workers} and the sidecar")
    payee = () if owner is None else owner.flags
    supervisor.start(
        [
            worker_recipe(state, wish, number, gateway=url, payee=payee)
            for number in range(1, wish.workers + 1)
        ]
    )
    port = _port(wish.port, "sidecar", say, taken=frozenset({port}))
    words = None if payer is None else payer.words
    (sidecar,) = supervisor.start(
        [sidecar_recipe(state, port=port, gateway=url, words=words, chain=settings)]
    )
    return Network(
        state=state,
        sidecar=str(sidecar["url"]).removesuffix("/v1"),
        gateway=url,
        gateway_key=identity,
        keys=keys,
        models=_await_models(books, {str(model["id"]) for model in described["models"]}),
        supervisor=supervisor,
        books=books,
        chain=chain,
        payer=payer,
        owner=owner,
    )


def _check_installed() -> None:
    commands = catalogue.installed()
    for name in ("gateway", "worker", "proxy"):
        if name in commands and not catalogue.is_present(commands[name]):
            raise SetupError(
                "a whole network needs every role: install bombyx-gateway and bombyx-worker"
            )


def _prepare(state: NetworkState, wish: Wish, say: Say) -> Keys:
    """The database, and an account with credit; found again on the next start."""
    api_key, admin_key = read_private(state.api_key), read_private(state.admin_key)
    named = sha256(wish.database_url.encode()).hexdigest() if wish.database_url else ""
    is_known = (read_private(state.database_name) or "") == named
    if api_key and admin_key and is_known and (named or state.database.exists()):
        return Keys(api_key, admin_key)  # the gateway itself brings an old schema up to date
    say("creating an account with credit")
    log, where = fresh_log(state, "setup"), ("--state", str(state.folder), *database_flags(wish))
    run_errand(("db", "upgrade", *where), log=log)
    create = ("keys", "create", *where, "--name")
    account = run_errand((*create, "demo", "--credit-nano", str(CREDIT_NANO)), log=log)
    admin = run_errand((*create, "admin", "--scope", "admin"), log=log)
    keys = Keys(str(account["api_key"]), str(admin["api_key"]))
    write_private(state.api_key, keys.api_key + "\n")
    write_private(state.admin_key, keys.admin_key + "\n")
    write_private(state.database_name, named + "\n")
    return keys


def _describe(state: NetworkState, wish: Wish, say: Say) -> dict[str, Any]:
    """What the workers will be: models, platform, image; fetches the model if need be."""
    root = ("--simulated-root", str(state.simulated_root))
    arguments = (
        "worker",
        "--describe",
        *engine_flags(wish),
        "--state",
        str(state.worker(1)),
        *root,
    )
    log = fresh_log(state, "describe")
    is_here = wish.model_path or any((state.worker(1) / "models").glob("*.gguf"))
    if is_here or wish.engine not in (EngineKind.LLAMACPP, EngineKind.AUTO):
        say(f"asking the engine {wish.engine.value} what it serves")
        return run_errand(arguments, log=log, seconds=ready_seconds(wish))
    say("fetching SmolLM2-135M-Instruct, 93 MB, once")
    temporary = state.folder / "fetching"
    with watched(temporary) as watch:
        return run_errand(
            arguments, log=log, seconds=FETCH_SECONDS, temporary=temporary, watch=watch
        )


def _port(wanted: int, role: str, say: Say, *, taken: frozenset[int] = frozenset()) -> int:
    port = free_port(wanted, taken=taken)
    if port != wanted:
        say(f"port {wanted} is busy; the {role} takes {port}")
    return port


def _await_models(books: Books, expected: set[str]) -> tuple[str, ...]:
    """Wait until the gateway lists every model; raises `SetupError`."""
    deadline = time.monotonic() + LISTED_SECONDS
    while True:
        with contextlib.suppress(RemoteError):
            models = books.models()
            if expected <= set(models):
                return tuple(models)
        if time.monotonic() > deadline:
            raise SetupError("the gateway lists no worker: see the logs of gateway and workers")
        time.sleep(_POLL_SECONDS)
