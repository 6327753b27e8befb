"""What happens while a worker is silent in the middle of a stream: signs of life, then the end.

Proxies and SDKs hang up on a connection that says nothing; a comment, which no reader of
server-sent events shows, keeps it. Looks at a stream a few times per limit: tokens pay nothing.
"""

from collections.abc import Callable

from bombyx.errors import EngineTimeout
from gateway.inference.alarms import Alarm, Alarms
from gateway.inference.answer import Phase
from gateway.inference.exchange import Exchange
from gateway.inference.stream import Pipe
from gateway.workers.registry import Listed

HEARTBEAT = b": still here\n\n"
LOOKS = 3
"""How often a stream is looked at within the shorter limit: a sign comes at most a third late."""


class Silence:
    """The limits of one process, in seconds."""

    def __init__(self, alarms: Alarms, *, heartbeat_s: float, idle_s: float) -> None:
        self._alarms = alarms
        self.heartbeat_s = heartbeat_s
        self.idle_s = idle_s
        self.step_s = min(heartbeat_s, idle_s) / LOOKS

    def after(self, look: Callable[[], None]) -> Alarm:
        """Look again a step later."""
        return self._alarms.after(self.step_s, look)


class Watch:
    """One client's stream; `stop` it when it is over.

    The worker is silent when no byte of it comes, which ends the stream; the client hears nothing
    also while the worker only says that it lives, which is when it gets comments.
    """

    __slots__ = ("_alarm", "_at", "_beats", "_exchange", "_listed", "_pipe", "_quiet", "_received",
                 "_silence", "_unheard")  # fmt: skip

    def __init__(
        self, silence: Silence, pipe: Pipe, exchange: Exchange, listed: Listed, *, beats: bool
    ) -> None:
        self._silence = silence
        self._pipe = pipe
        self._exchange = exchange
        self._listed = listed
        self._beats = beats
        self._received = pipe.answer.received
        self._at = 0
        self._quiet = self._unheard = 0.0
        self._alarm = silence.after(self._look)

    def stop(self) -> None:
        """The stream is over."""
        self._alarm.clear()

    def _look(self) -> None:
        answer, pipe, step = self._pipe.answer, self._pipe, self._silence.step_s
        if answer.phase is Phase.OVER or self._exchange.disconnected:
            return
        # A client that is behind must not make its worker look silent.
        behind = pipe.at < len(answer.chunks)
        self._quiet = 0.0 if behind or answer.received != self._received else self._quiet + step
        self._unheard = 0.0 if behind or pipe.at != self._at else self._unheard + step
        self._received, self._at = answer.received, pipe.at
        if self._quiet >= self._silence.idle_s:
            self._listed.link.reset(answer, "idle")
            answer.on_over(EngineTimeout("the worker fell silent in the middle of its answer"))
            return
        if self._beats and self._unheard >= self._silence.heartbeat_s and self._between_events():
            self._unheard = 0.0
            self._exchange.write(HEARTBEAT)
        self._alarm = self._silence.after(self._look)

    def _between_events(self) -> bool:
        chunks = self._pipe.answer.chunks
        return not chunks or chunks[-1].endswith(b"\n\n")
