"""Starts a model server of any brand on loopback and waits until it answers (SPEC 2.6)."""

import asyncio
import contextlib
import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from bombyx import canonical
from bombyx.errors import EngineFailed, SetupError
from bombyx.manifest import manifest_digest
from worker.engine.life import Life, end
from worker.engine.openai_http import OpenAIEngine, OpenAIServer
from worker.engine.port import EngineModel
from worker.engine.server.checked import CheckedModel, as_words, check_model
from worker.engine.server.installed import installed_version
from worker.engine.server.owner_flags import check_flags
from worker.engine.server.plan import Brand, Keys, ServerPlan
from worker.engine.server.tail import Tail

CHILD = Path(__file__).with_name("child.py")
CHECKSUMS = "model-checksums.json"
KEY_BYTES = 24
POLL_SECONDS = 0.2
PROBE_SECONDS = 2.0
DEEP_SECONDS = 30.0
"""SGLang's own patience with a token is 20 s."""
POLITE_SECONDS = 8.0
"""SGLang looks for SIGTERM every 5 s; a supervisor of ours waits 10 s."""
_PASSED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "USER")
_PASSED_FAMILIES = ("CUDA_", "NVIDIA_", "NCCL_")
"""Settings of the machine. None of ours, which hold keys; none of the server's own, which could
make it log prompts or take orders from requests."""

Say = Callable[[str], None]


class ServerLauncher:
    """A `Launcher` of one brand."""

    def __init__(self, brand: Brand, plan: ServerPlan, *, say: Say = lambda _: None) -> None:
        """Raises `SetupError` for flags that an owner may not set."""
        self._brand = brand
        self._plan = replace(plan, flags=check_flags(brand, plan.flags))
        self._asked = self._plan
        """The plan with what the model's manifest asks for."""
        self._say = say
        self._checked: CheckedModel | None = None
        self.name = brand.name

    async def describe(self) -> EngineModel:
        """Hash the folder and ask for the server's version; raises `SetupError`."""
        brand, plan = self._brand, self._plan
        version = await asyncio.to_thread(installed_version, plan.python, brand.package)
        if version is None:
            raise SetupError(
                f"{plan.python} has no {brand.name}: name the Python of its environment with "
                "--engine-python"
            )
        self._say(f"hashing the model in {plan.folder}")
        checked = await asyncio.to_thread(check_model, plan.folder, brand.name)
        self._checked, self._asked = checked, with_asked(brand, plan, checked.asked)
        context = _context(checked, self._asked)
        engine = {
            "engine": brand.name,
            "version": version,
            "flags": brand.promised(self._asked, context),
        }
        return EngineModel(
            id=plan.model,
            context=context,
            weights=manifest_digest(checked.manifest),
            engine=canonical.digest(engine).hex(),
            bytes_factor=plan.bytes_factor,
            overhead=plan.overhead,
            max_image_tokens=0,
        )

    async def launch(self, model: EngineModel) -> Life:
        """Start the process and wait for it; raises `EngineFailed` with what it said."""
        began = time.monotonic()
        keys = Keys(secrets.token_hex(KEY_BYTES), secrets.token_hex(KEY_BYTES))
        port = _free_port()
        self._say(f"starting {self.name} with {model.id}")
        process = await self._spawn(keys)
        tail = Tail(secrets=(keys.api, keys.admin))
        life = Life(
            process,
            OpenAIEngine(self._server(model, port, keys)),
            deep_path=self._brand.deep_path,
            deep_seconds=DEEP_SECONDS,
            polite_seconds=POLITE_SECONDS,
            is_group=True,
            tail=tail,
        )
        try:
            self._send(process, port, keys, model)
            if process.stdout is not None:
                life.spawn(tail.read(process.stdout))
            await self._until_ready(life, tail)
        except BaseException:
            # Not politely: it serves nobody yet, and may be deep in loading.
            await end(process, is_group=True)
            await life.stop()
            raise
        tail.serve()
        self._say(f"{self.name} is ready after {time.monotonic() - began:.0f} s")
        return life

    async def _spawn(self, keys: Keys) -> asyncio.subprocess.Process:
        plan = self._plan
        environment = passed_environment(dict(os.environ)) | self._brand.environment(plan, keys)
        try:
            return await asyncio.create_subprocess_exec(
                *(str(plan.python), "-P", str(CHILD)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=environment,
                limit=2**16,
            )
        except OSError as error:
            raise SetupError(f"{plan.python} does not run: {error.strerror}") from None

    def _send(
        self, process: asyncio.subprocess.Process, port: int, keys: Keys, model: EngineModel
    ) -> None:
        """Its arguments, through the pipe: there are keys among them."""
        plan, brand = self._plan, self._brand
        checksums = plan.scratch / CHECKSUMS
        if self._checked is not None:
            self._checked.write_checksums(checksums)
        private = brand.private(plan, port, keys, checksums)
        argv = [*private, *brand.promised(self._asked, model.context)]
        if process.stdin is None:
            raise EngineFailed("the engine's child has no pipes")
        line = json.dumps({"module": brand.module, "argv": argv})
        process.stdin.write(line.encode() + b"\n")

    def _server(self, model: EngineModel, port: int, keys: Keys) -> OpenAIServer:
        return OpenAIServer(
            url=f"http://127.0.0.1:{port}",
            models=(model,),
            flavour=self._brand.flavour,
            api_key=keys.api,
            admin_key=keys.admin,
            has_ids=self._brand.has_ids,
            slots=self._plan.slots,
            first_token_seconds=self._plan.first_token_seconds,
            idle_seconds=self._plan.idle_seconds,
        )

    async def _until_ready(self, life: Life, tail: Tail) -> None:
        http, process = life.http, life.process
        try:
            async with asyncio.timeout(self._plan.ready_seconds):
                http.open()
                while not await http.answers(self._brand.ready_path, PROBE_SECONDS):
                    if process.returncode is not None:
                        await asyncio.sleep(POLL_SECONDS)  # its last lines are on their way
                        raise EngineFailed(_obituary(self.name, tail))
                    await asyncio.sleep(POLL_SECONDS)
                await http.start()
        except TimeoutError:
            raise EngineFailed(f"{self.name} was not ready in time: {tail.last_words()}") from None


def passed_environment(environ: dict[str, str]) -> dict[str, str]:
    """What a server inherits; offline, and telling nobody that it runs."""
    passed = {
        name: value
        for name, value in environ.items()
        if name in _PASSED or name.startswith(_PASSED_FAMILIES)
    }
    quiet = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "DO_NOT_TRACK": "1"}
    return {**passed, **quiet, "HF_HUB_DISABLE_TELEMETRY": "1", "PYTHONUNBUFFERED": "1"}


def with_asked(brand: Brand, plan: ServerPlan, asked: Mapping[str, str]) -> ServerPlan:
    """The plan, where the owner left something open as the model's manifest asks.

    Raises `SetupError` for a flag that no owner might set either.
    """
    rest = dict(asked)
    tools, reasoning = rest.pop("tool_call_parser", ""), rest.pop("reasoning_parser", "")
    context = rest.pop("context_length", "")
    if context and not context.isdecimal():
        raise SetupError("the model's manifest has a context_length that is no number")
    own = {word for word in plan.flags if word.startswith("--")}
    added = {name: one for name, one in rest.items() if "--" + name.replace("_", "-") not in own}
    return replace(
        plan,
        tool_parser=plan.tool_parser or tools,
        reasoning_parser=plan.reasoning_parser or reasoning,
        context=plan.context or (int(context) if context else None),
        flags=(*plan.flags, *check_flags(brand, as_words(added))),
    )


def _context(checked: CheckedModel, plan: ServerPlan) -> int:
    told = [one for one in (checked.context, plan.context) if one is not None]
    if not told:
        raise SetupError("the model's config.json names no context: set one with --context")
    return min(told)


def _obituary(name: str, tail: Tail) -> str:
    said = tail.last_words()
    cause = tail.cause or "see what it said"
    return f"{name} did not start: {cause}" + (f" ({said})" if said else "")


def _free_port() -> int:
    with contextlib.closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
