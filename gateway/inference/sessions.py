"""Bare-tier sessions of this process, one per worker link (SPEC 15)."""

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from bombyx.envelope.keys import SECRET_BYTES
from bombyx.envelope.request import RequestKeys
from bombyx.envelope.session import (
    MAX_SESSION_REQUESTS,
    MAX_SESSION_SECONDS,
    request_keys,
    session_info,
    wrap_session,
)
from bombyx.errors import NoCandidate
from bombyx.link.documents import SessionStart
from bombyx.link.open import SESSION_ID_BYTES, SessionKey
from gateway.workers.registry import Listed


@dataclass(slots=True, eq=False, repr=False)
class _Session:
    """A secret that this process and one worker share."""

    id: bytes
    secret: bytes
    since: float
    used: int = 0


class Sessions:
    """Opens sessions on demand and counts their requests."""

    def __init__(self, *, gateway: bytes, now: Callable[[], float]) -> None:
        self._gateway = gateway
        self._now = now
        self._open: dict[Listed, _Session] = {}

    def next_keys(self, listed: Listed) -> tuple[SessionKey, RequestKeys]:
        """Keys of the next request to a worker; starts a session where there is none."""
        session = self._open.get(listed)
        if (
            session is None
            or session.used >= MAX_SESSION_REQUESTS
            or session.since + MAX_SESSION_SECONDS / 2 < self._now()
        ):
            session = self._start(listed)
        counter, session.used = session.used, session.used + 1
        return SessionKey(session.id, counter), request_keys(session.secret, counter)

    def forget(self, listed: Listed) -> None:
        """The link is gone, and what was agreed on it."""
        self._open.pop(listed, None)

    def _start(self, listed: Listed) -> _Session:
        if listed.sealing_key is None:
            raise NoCandidate("the worker has no usable sealing key")
        session = _Session(
            os.urandom(SESSION_ID_BYTES), secrets.token_bytes(SECRET_BYTES), self._now()
        )
        info = session_info(bytes.fromhex(listed.worker), self._gateway, session.id)
        wrapped = wrap_session(listed.sealing_key, session.secret, info)
        listed.link.start_session(
            SessionStart(session=session.id.hex(), key_id=listed.key_id, wrapped=wrapped.hex())
        )
        self._open[listed] = session
        return session
