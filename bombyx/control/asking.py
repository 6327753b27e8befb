"""The command line's end of the control socket: blocking, one order."""

import socket
from pathlib import Path
from typing import Any

import msgspec

from bombyx.control.starting import is_starting
from bombyx.control.wire import SOCKET, Order, Reply, address
from bombyx.errors import SetupError

QUICK_SECONDS = 10.0
LOAD_SECONDS = 3600.0
"""A large model is hashed and loaded for many minutes."""
SEVERAL = ("gpu-*", "worker-*")
"""Folders of workers in one: groups of GPUs, and those of `bombyx up`."""
_STARTS = "it starts: it reads and loads its models, and its log tells how far it is"


def give(folder: Path, order: Order, *, seconds: float = QUICK_SECONDS) -> dict[str, Any]:
    """What the worker of this state folder says; raises `SetupError` with its sentence."""
    try:
        if not (folder / SOCKET).exists():
            raise SetupError(_absent(folder))
        with address(folder) as where, socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(seconds)
            sock.connect(where)
            sock.sendall(msgspec.json.encode(order) + b"\n")
            with sock.makefile("rb") as file:
                line = file.readline()
        reply = msgspec.json.decode(line, type=Reply)
    except ConnectionRefusedError:  # of a process that was killed
        gone = f"the worker of {folder} is gone: start it again"
        raise SetupError(_STARTS if is_starting(folder) else gone) from None
    except TimeoutError:
        raise SetupError(f"the worker of {folder} does not answer within {seconds:.0f} s") from None
    except OSError as error:
        raise SetupError(f"the worker of {folder} cannot be asked: {error.strerror}") from None
    except msgspec.DecodeError as error:
        why = error if line else "it hung up"
        raise SetupError(f"the worker of {folder} cannot be asked ({why})") from None
    if reply.told is None:
        raise SetupError(reply.error)
    return reply.told


def _absent(folder: Path) -> str:
    """Why there is no socket, as far as the folder tells."""
    if is_starting(folder):
        return _STARTS
    several = sorted(one.parent for name in SEVERAL for one in folder.glob(f"{name}/{SOCKET}"))
    if several:
        return f"{folder} is of several workers: name one, such as --state {several[0]}"
    return f"no worker runs on {folder}: name its --state"
