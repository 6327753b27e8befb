"""The TVM of @ton/sandbox (TON's own C++, compiled to WebAssembly) inside this process, in V8.

The package is MIT-licensed, pinned with its hash in ton/contracts/package-lock.json and installed
by `make tools`; the 5 MB of WebAssembly are never copied. A transaction takes a few milliseconds,
for which the calling thread waits, also where that runs an event loop. An `Emulator` belongs to one
thread at a time.
"""

import json
import re
import time
import weakref
from base64 import b64decode, b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from py_mini_racer import JSEvalException, MiniRacer

from ton.errors import EmulatorFailed, EmulatorMissing, MessageNotAccepted
from ton.tvm.machine import GET_GAS_LIMIT, ZERO_SEED, Answer, Call, Executed

PACKAGES = Path(__file__).parents[1] / "contracts" / "node_modules"
_SANDBOX = Path("@ton/sandbox/dist")
_GLUE = Path(__file__).with_name("glue.js")
_START_SECONDS = 20.0
_POLL_SECONDS = 0.01
_REJECTED = "[Error : -701 :"
"""How the emulator says that an external message reached no code."""


def sandbox_folder(packages: Path = PACKAGES) -> Path:
    """Where the emulator is, below a node_modules folder; raises `EmulatorMissing`."""
    folder = packages / _SANDBOX
    if not (folder / "executor/emulator-emscripten.wasm.js").is_file():
        raise EmulatorMissing(
            f"there is no TVM in {packages}: run `make tools`, or `npm ci` in {packages.parent}"
        )
    return folder


def default_config(packages: Path = PACKAGES) -> bytes:
    """The configuration that comes with the emulator: mainnet's, of autumn 2025."""
    text = (sandbox_folder(packages) / "config/defaultConfig.js").read_text(encoding="ascii")
    return b64decode(_literal(text, "`"))


def _literal(text: str, quote: str) -> str:
    """The one long base64 literal of a generated JavaScript file."""
    found = re.search(rf"{quote}([A-Za-z0-9+/=]{{1000,}}){quote}", text)
    if found is None:
        raise EmulatorFailed("the emulator's package has an unknown form")
    return found.group(1)


class Emulator:
    """A `Tvm` under one configuration."""

    def __init__(self, config: bytes, *, packages: Path = PACKAGES) -> None:
        """Load the WebAssembly (0.2 s); raises `EmulatorMissing` or `EmulatorFailed`."""
        executor = sandbox_folder(packages) / "executor"
        self._config = config
        self._v8 = _v8()
        # Also at exit: V8 that is freed later, by the interpreter's own teardown, deadlocks.
        self._close = weakref.finalize(self, self._v8.close)
        try:
            self._load(executor)
            self._configure()
        except BaseException:
            self.close()
            raise

    def _load(self, executor: Path) -> None:
        wasm = (executor / "emulator-emscripten.wasm.js").read_text(encoding="ascii")
        self._v8.eval(_GLUE.read_text(encoding="utf-8"))
        self._v8.eval((executor / "emulator-emscripten.js").read_text(encoding="utf-8"))
        self._v8.eval(f'start(EmulatorModule, Uint8Array.fromBase64("{_literal(wasm, chr(39))}"))')
        until = time.monotonic() + _START_SECONDS
        while (state := self._call("state")) == "starting" and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
        if state != "ready":
            raise EmulatorFailed(f"the emulator did not start: {state}")

    def _configure(self) -> None:
        if not self._call("configure", _text(self._config)):
            raise EmulatorFailed("the emulator refuses this network configuration")

    @property
    def config(self) -> bytes:
        """The network configuration, as it was given."""
        return self._config

    @property
    def version(self) -> str:
        """The commit of TON's sources that the emulator was built from."""
        return str(json.loads(self._call("version"))["emulatorLibCommitHash"])

    def run(
        self, message: bytes, shard_account: bytes, *, now: int, lt: int, seed: bytes = ZERO_SEED
    ) -> Executed:
        """Deliver a message to an account; see `Tvm.run`."""
        parameters = {
            "utime": now,
            "lt": str(lt),
            "rand_seed": seed.hex(),
            "ignore_chksig": False,
            "debug_enabled": False,
        }
        output = self._output(
            "transact", _text(shard_account), _text(message), json.dumps(parameters)
        )
        if not output["success"]:
            raise _refusal(output)
        return Executed(b64decode(output["transaction"]), b64decode(output["shard_account"]))

    def get(self, call: Call) -> Answer:
        """Run a get method; see `Tvm.get`."""
        parameters = {
            "code": _text(call.code),
            "data": _text(call.data),
            "verbosity": 0,
            "libs": "",
            "address": call.address,
            "unixtime": call.now,
            "balance": str(call.balance),
            "rand_seed": ZERO_SEED.hex(),
            "gas_limit": str(GET_GAS_LIMIT),
            "method_id": call.method,
            "debug_enabled": False,
        }
        output = self._output("getMethod", json.dumps(parameters), _text(call.stack))
        if not output["success"]:
            raise EmulatorFailed(f"the get method did not run: {output['error']}")
        gas_used = int(output["gas_used"])
        return Answer(int(output["vm_exit_code"]), gas_used, b64decode(output["stack"]))

    def _output(self, function: str, *arguments: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._call(function, *arguments))
        if "output" not in answer:
            raise EmulatorFailed(f"the emulator failed: {answer.get('message', answer)}")
        output: dict[str, Any] = answer["output"]
        return output

    def _call(self, function: str, *arguments: str) -> Any:
        try:
            return self._v8.call(function, *arguments)
        except JSEvalException as cause:
            sentence = str(cause).partition("\n")[0]  # the rest quotes 80 KB of source
            raise EmulatorFailed(f"the emulator crashed: {sentence}") from None

    def close(self) -> None:
        """Free V8's memory; the emulator is of no use afterwards."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _refusal(output: dict[str, Any]) -> Exception:
    """Why a message had no transaction: the account's doing, or the machine's."""
    error = str(output["error"])
    if "vm_exit_code" in output:
        return MessageNotAccepted(error, exit_code=output["vm_exit_code"])
    if _REJECTED in error:
        return MessageNotAccepted("the account is absent or cannot pay")
    return EmulatorFailed(f"the emulator takes no such message: {error}")


def _v8() -> MiniRacer:
    """V8 with an event loop of its own: made on a running loop's thread, it would wait for that."""
    with ThreadPoolExecutor(1) as elsewhere:
        return elsewhere.submit(MiniRacer).result()


def _text(boc: bytes) -> str:
    return b64encode(boc).decode()
