"""The command line's end of the control socket: blocking, one order."""

import socket
from pathlib import Path
from typing import Any

import msgspec

from bombyx.control.wire import SOCKET, Order, Reply, address
from bombyx.errors import SetupError

QUICK_SECONDS = 10.0
LOAD_SECONDS = 3600.0
"""A large model is hashed and loaded for many minutes."""


def give(folder: Path, order: Order, *, seconds: float = QUICK_SECONDS) -> dict[str, Any]:
    """What the worker of this state folder says; raises `SetupError` with its sentence."""
    if not (folder / SOCKET).exists():
        raise SetupError(f"no worker runs on {folder}: name its --state")
    try:
        with address(folder) as where, socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(seconds)
            sock.connect(where)
            sock.sendall(msgspec.json.encode(order) + b"\n")
            with sock.makefile("rb") as file:
                line = file.readline()
        reply = msgspec.json.decode(line, type=Reply)
    except ConnectionRefusedError:
        raise SetupError(f"the worker of {folder} is gone: start it again") from None
    except TimeoutError:
        raise SetupError(f"the worker of {folder} does not answer within {seconds:.0f} s") from None
    except (OSError, msgspec.DecodeError) as error:
        raise SetupError(f"the worker of {folder} cannot be asked ({error})") from None
    if reply.told is None:
        raise SetupError(reply.error)
    return reply.told
