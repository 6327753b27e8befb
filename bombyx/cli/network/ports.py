"""A port that is free: the one asked for, or the next."""

import socket

from bombyx.errors import SetupError

TRIES = 100
_LAST = 65_535
_HOSTS = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


def free_port(wanted: int, *, taken: frozenset[int] = frozenset()) -> int:
    """The first port from `wanted` on that nobody listens on; raises `SetupError`."""
    for port in range(wanted, min(wanted + TRIES, _LAST + 1)):
        if port not in taken and all(_is_free(family, host, port) for family, host in _HOSTS):
            return port
    raise SetupError(f"no port from {wanted} to {wanted + TRIES - 1} is free; name another")


def _is_free(family: socket.AddressFamily, host: str, port: int) -> bool:
    """Whether a server could bind it; a machine without that family has nobody on it."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As servers do: a port in TIME_WAIT counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError:
        return _is_absent(family, host)
    return True


def _is_absent(family: socket.AddressFamily, host: str) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return True
    return False
