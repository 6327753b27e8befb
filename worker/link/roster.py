"""Which processes a gateway has, by its own list (SPEC 10.5)."""

from email.utils import parsedate_to_datetime

import aiohttp
import structlog

from bombyx.errors import LinkError
from bombyx.link.processes import MAX_LIST_BYTES, LiveProcess, parse_processes
from bombyx.units import MAX_SKEW_SECONDS
from worker.clock import Clock
from worker.link.address import is_weaker, link_url, list_url, proxy_for

ANSWER_SECONDS = 10.0
_OK, _NOT_FOUND = 200, 404

_log = structlog.get_logger("worker.link")


class Roster:
    """Reads the list of one gateway, named as its owner typed it."""

    def __init__(self, gateway: str, clock: Clock) -> None:
        self._gateway = gateway
        self._clock = clock
        self._url = list_url(gateway)
        self._only = [LiveProcess(slot=0, epoch=0, link_url=link_url(gateway))]

    @property
    def is_fixed(self) -> bool:
        """Whether a link's own URL was given: then that is dialled, and nothing is asked."""
        return self._url is None

    async def read(self, session: aiohttp.ClientSession) -> list[LiveProcess]:
        """The live processes; raises `LinkError` or what aiohttp raises.

        Also where the gateway's clock and ours are so far apart that each request would be refused.
        """
        if self._url is None:
            return self._only
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with session.get(
            self._url, proxy=proxy_for(self._url), timeout=timeout, allow_redirects=False
        ) as answer:
            self._compare(answer.headers.get("Date"))
            if answer.status == _NOT_FOUND:
                return self._only  # a gateway of one process need not have a list
            if answer.status != _OK:
                raise LinkError(f"the gateway's list of processes is refused with {answer.status}")
            raw = await _read(answer.content)
        return [one for one in parse_processes(raw).data if self._is_safe(one)]

    def _compare(self, told: str | None) -> None:
        try:
            theirs = parsedate_to_datetime(told or "").timestamp()
        except ValueError:
            return  # it tells no time
        seconds = self._clock() / 1000 - theirs
        if abs(seconds) > MAX_SKEW_SECONDS:
            which = "ahead of" if seconds > 0 else "behind"
            raise LinkError(
                f"this machine's clock is {abs(seconds):.0f} s {which} that of {self._gateway}: "
                "set it right, it is linked to then"
            )

    def _is_safe(self, one: LiveProcess) -> bool:
        if self._url is None or not is_weaker(one.link_url, self._url):
            return True
        _log.warning("list_refused", url=one.link_url, reason="it goes without TLS: set link_url")
        return False


async def _read(content: aiohttp.StreamReader) -> bytes:
    parts, size = [], 0
    async for part in content.iter_any():
        size += len(part)
        if size > MAX_LIST_BYTES:
            raise LinkError("the gateway's list of processes is too long")
        parts.append(part)
    return b"".join(parts)
