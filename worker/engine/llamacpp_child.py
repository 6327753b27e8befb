"""The child that holds llama.cpp: `python -m worker.engine.llamacpp_child`.

A process of its own, so that a crash in C++ does not take the worker's keys with it. Reads one
line of JSON on stdin (`gguf`, `api_key`, `context`, `slots`, `threads`), answers with one ready
line, and lives until stdin closes: when the worker dies, however it dies, so does this.
"""

import json
import os
import signal
import sys
import threading

LOOPBACK = "127.0.0.1"


def _build(config: dict[str, str | int]) -> object:
    # The extra is installed only where it is used, and loads 100 MB of libraries.
    import xllamacpp  # type: ignore[import-untyped]  # noqa: PLC0415

    params = xllamacpp.CommonParams()
    params.model.path = config["gguf"]
    params.hostnames = [LOOPBACK]
    params.api_keys = [config["api_key"]]
    # llama.cpp divides its context between the slots.
    params.n_ctx = int(config["context"]) * int(config["slots"])
    params.n_parallel = config["slots"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = config["threads"]
    params.endpoint_slots = True
    params.ui = False
    params.verbosity = 0
    return xllamacpp.Server(params)


def _leave_with_stdin() -> None:
    """Block until the parent closes the pipe; then stop at once, whatever C++ threads do."""
    while sys.stdin.buffer.read(1):
        pass
    os._exit(0)


def main() -> None:
    """Serve until stdin closes."""
    # Ctrl-C goes to the whole group; the parent decides when we stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    config = json.loads(sys.stdin.buffer.readline())
    # In a thread, since loading a model blocks and the parent may die meanwhile.
    threading.Thread(target=_leave_with_stdin, daemon=True).start()
    server = _build(config)
    line = json.dumps({"url": server.listening_address})  # type: ignore[attr-defined]
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main()
