"""Bare-tier sessions at the worker: one HPKE unwrap for many requests (SPEC 15).

A session belongs to one link and one keyset, lives 600 s, and lends its counters once each.
"""

from dataclasses import dataclass, field

from bombyx.envelope.request import RequestKeys
from bombyx.envelope.session import (
    MAX_SESSION_SECONDS,
    CounterWindow,
    request_keys,
    session_info,
    unwrap_session,
)
from bombyx.errors import CannotOpen
from bombyx.link.documents import SessionStart
from bombyx.link.open import SessionKey
from worker.identity import Generation

MAX_SESSIONS = 16
"""Of one link: a gateway process needs one, and a second while it changes over."""


@dataclass(frozen=True, slots=True, repr=False)
class _Session:
    secret: bytes
    ends: int
    window: CounterWindow = field(default_factory=CounterWindow)


class Sessions:
    """The sessions of one link."""

    def __init__(self, *, gateway: str) -> None:
        self._gateway = bytes.fromhex(gateway)
        self._sessions: dict[bytes, _Session] = {}

    def start(self, document: SessionStart, generation: Generation, now: int) -> None:
        """Take a session; raises `CannotOpen` when it was wrapped for other keys or places."""
        if document.key_id != generation.key_id:
            raise CannotOpen("the session is wrapped to a key that is not current")
        name = bytes.fromhex(document.session)
        info = session_info(bytes.fromhex(generation.worker), self._gateway, name)
        wrapped = bytes.fromhex(document.wrapped)
        secret = unwrap_session(generation.sealing_key, wrapped, info)
        live = {key: one for key, one in self._sessions.items() if one.ends > now}
        if name in live or len(live) >= MAX_SESSIONS:
            raise CannotOpen("the session exists or there are too many")
        live[name] = _Session(secret, now + MAX_SESSION_SECONDS)
        self._sessions = live

    def keys(self, key: SessionKey, now: int) -> RequestKeys:
        """The keys of one counter; raises `CannotOpen` or `ReplayedRequest`."""
        session = self._sessions.get(key.session)
        if session is None or session.ends <= now:
            raise CannotOpen("the session is unknown or has ended")
        session.window.accept(key.counter)
        return request_keys(session.secret, key.counter)
