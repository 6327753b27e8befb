"""A network on disk: policy, keys, database, and the command lines of its processes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

from bombyx.attestation.policy import (
    POLICY_VERSION,
    SIMULATED,
    ModelRules,
    Policy,
    SimulatedRules,
    render_policy,
)
from bombyx.attestation.simulated import image_measurement
from bombyx.manifest import manifest_digest
from gateway.accounts.repository import Accounts
from gateway.database import create_engine, upgrade
from tests.chaos.processes import Process, free_port
from worker.attest.simulated_root import load_or_create_root, root_sha256
from worker.clock import now_ms
from worker.engine.llamacpp import LlamaCpp, describe
from worker.engine.port import EngineModel
from worker.engine.scripted import Scripted, ScriptedEngine
from worker.models.manifests import build_manifest

CREDIT = 10**13
SCRIPTED, LLAMA = "scripted", "tiny-llama"
GGUF = Path(__file__).parents[1] / "fixtures" / "tiny-llama" / "tiny-f16.gguf"
ENGINES = {
    SCRIPTED: ("--engine", "scripted"),
    LLAMA: ("--engine", "llamacpp", "--model-path", str(GGUF), "--model", LLAMA, "--threads", "1"),
}


@dataclass(slots=True)
class Site:
    """Where a network lives, and who may use it."""

    folder: Path
    database_url: str
    policy: Policy
    api_key: str
    admin_key: str
    account: str
    gateway: Process
    workers: list[Process] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The gateway's origin, the same in each of its lives."""
        return _origin(self.gateway)

    @property
    def processes(self) -> list[Process]:
        return [self.gateway, *self.workers]

    def add_worker(self, engine: str, settings: Mapping[str, str] | None = None) -> Process:
        """One more worker, not started; `settings` are its own, by name."""
        name = f"worker-{len(self.workers) + 1}"
        arguments = [
            *("worker", "--gateway", self.url, *ENGINES[engine], "--grace-seconds", "1"),
            *("--state", str(self.folder / name), "--wallet", f"wallet:{name}"),
            *("--simulated-root", str(self.folder / "simulated-root.pem"), "--die-with-parent"),
        ]
        given = {"slots": "64"} if engine == SCRIPTED else {}
        environment = worker_environment({**given, **(settings or {})})
        worker = Process(name, arguments, self.folder, environment)
        self.workers.append(worker)
        return worker

    def journal(self, worker: Process) -> Path:
        """Where a worker keeps what no gateway has disposed of."""
        return self.folder / worker.name / "worker-journal.db"

    def destroy(self) -> None:
        """Leave nothing running."""
        for process in self.processes:
            process.destroy()


def worker_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Settings of a worker by name, as its environment."""
    return {f"BOMBYX_WORKER_{name.upper()}": value for name, value in settings.items()}


async def build_site(
    folder: Path,
    *,
    database_url: str | None = None,
    engines: tuple[str, ...] = (SCRIPTED, SCRIPTED),
    settings: Mapping[str, str] | None = None,
    worker_settings: Mapping[str, str] | None = None,
    processes: int = 1,
) -> Site:
    """A funded network that is not running; `settings` are the gateway's, by name."""
    state = folder / "gateway-state"
    state.mkdir(parents=True)
    url = database_url or f"sqlite:///{state / 'gateway.db'}"
    await upgrade(url)
    account, key, admin = await _fund(url)
    policy = _policy(folder, set(engines))
    (folder / "policy.toml").write_text(render_policy(policy))
    given = {"processes": str(processes), **(settings or {})}
    site = Site(folder, url, policy, key, admin, account, _gateway(folder, state, url, given))
    for engine in engines:
        site.add_worker(engine, worker_settings)
    return site


def _gateway(folder: Path, state: Path, url: str, settings: Mapping[str, str]) -> Process:
    arguments = [
        *("gateway", "--host", "127.0.0.1", "--port", str(free_port()), "--state", str(state)),
        *("--policy", str(folder / "policy.toml"), "--database-url", url, "--die-with-parent"),
    ]
    given = {f"BOMBYX_GATEWAY_{name.upper()}": value for name, value in settings.items()}
    return Process("gateway", arguments, folder, given)


def _origin(gateway: Process) -> str:
    arguments = list(gateway.arguments)
    return f"http://127.0.0.1:{arguments[arguments.index('--port') + 1]}"


async def _fund(url: str) -> tuple[str, str, str]:
    engine = create_engine(url)
    try:
        accounts = Accounts(engine)
        account = await accounts.create("tests")
        await accounts.credit(account.id, CREDIT, txn="seed")
        _, key = await accounts.create_key(account.id, name="tests")
        _, admin = await accounts.create_key(account.id, name="admin", scope="admin")
    finally:
        await engine.dispose()
    return account.id, key.secret, admin.secret


def _policy(folder: Path, engines: set[str]) -> Policy:
    root = load_or_create_root(folder / "simulated-root.pem", now=now_ms() // 1000)
    models = [model for engine in sorted(engines) for model in _models(engine)]
    return Policy(
        version=POLICY_VERSION,
        network="local",
        platforms=(SIMULATED,),
        simulated=SimulatedRules(
            roots=(root_sha256(root),),
            mr_td=(image_measurement(version("bombyx")).hex(),),
            accepted_tcb=("UpToDate",),
        ),
        models=tuple(
            ModelRules(name=model.id, weights=(model.weights,), engines=(model.engine,))
            for model in models
        ),
    )


def _models(engine: str) -> list[EngineModel]:
    if engine == LLAMA:
        weights = manifest_digest(build_manifest(GGUF))
        return [replace(describe(LlamaCpp(gguf=GGUF, model=LLAMA)), weights=weights)]
    return ScriptedEngine(Scripted()).models()
