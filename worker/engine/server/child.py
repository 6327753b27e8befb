"""The first process of a model server: `PYTHON -P child.py`, in the server's own environment.

Needs nothing but the standard library, since that environment holds none of ours. Reads one line of
JSON on stdin (`module`, `argv`): keys given there are in no process list. Runs the module as the
main program and lives until stdin closes: when the worker dies, however it dies, so does this.
"""

import json
import os
import runpy
import signal
import sys
import threading


def _leave_with_stdin() -> None:
    """Block until the worker closes the pipe; then end the whole group, GPU processes included."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Serve until stdin closes."""
    # A group of its own, so that Ctrl-C at a terminal is the worker's to handle, and so that one
    # signal ends every process of the server.
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    line = bytearray()
    while not line.endswith(b"\n"):
        piece = os.read(sys.stdin.fileno(), 1)
        if not piece:
            return
        line += piece
    config = json.loads(line)
    threading.Thread(target=_leave_with_stdin, daemon=True).start()
    sys.argv = [config["module"], *config["argv"]]
    runpy.run_module(config["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
