"""One provider's HTTP: not too fast, not too long, not too much, and once more when it stumbles."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

import httpx2

from ton.chain.errors import ProviderFault

MAX_ANSWER: Final = 16 << 20
"""Bytes: a hundred transactions with messages of the largest size that is read."""
MAX_REASON: Final = 300
"""Characters of what a provider says went wrong; the rest may be a web page."""
DELAYS: Final = (0.2, 0.6, 1.8)
"""Seconds before a question is asked once more."""
MAX_DELAY: Final = 10.0
"""Seconds that a provider may ask us to wait; longer is as good as dead."""
_TOO_MANY: Final = 429
_BUSY: Final = frozenset({502, 503, 504})


class Refused(Exception):
    """The provider answered, and the answer is no; `message` is its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Stumbled(Exception):
    """Something that may be over in a moment; `wait` is what the provider asks for, in seconds."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait


class Pace:
    """At most so many requests per second, evenly."""

    def __init__(self, per_second: float) -> None:
        self._step = 1 / per_second
        self._next = 0.0

    async def turn(self) -> None:
        """Wait for this request's turn."""
        now = asyncio.get_running_loop().time()
        at = max(now, self._next)
        self._next = at + self._step
        if at > now:
            await asyncio.sleep(at - now)


class Wire:
    """JSON over HTTP with one provider; `name` is what errors call it."""

    def __init__(
        self,
        url: str,
        *,
        name: str,
        api_key: str | None = None,
        seconds: float = 10.0,
        per_second: float = 10.0,
        delays: tuple[float, ...] = DELAYS,
    ) -> None:
        self.name = name
        self._url = url.rstrip("/")
        self._seconds = seconds
        self._pace = Pace(per_second)
        self._delays = delays
        headers = {"X-API-Key": api_key} if api_key else {}
        self._http = httpx2.AsyncClient(
            headers={"user-agent": "bombyx", **headers},
            timeout=httpx2.Timeout(seconds),
            follow_redirects=False,
            trust_env=not _is_loopback(url),
        )

    async def close(self) -> None:
        """Hang up."""
        await self._http.aclose()

    async def get(self, path: str, query: Mapping[str, str | int]) -> Any:
        """The `result` of a GET; raises `Refused` or `ProviderFault`."""
        request = self._http.build_request("GET", f"{self._url}/{path}", params=dict(query))
        return await self._patiently(request)

    async def post(self, path: str, body: Mapping[str, Any], *, again: bool = True) -> Any:
        """The `result` of a POST; `again` says whether asking twice is the same as once."""
        request = self._http.build_request("POST", f"{self._url}/{path}", json=dict(body))
        return await self._patiently(request, again=again)

    async def _patiently(self, request: httpx2.Request, *, again: bool = True) -> Any:
        delays = list(self._delays) if again else []
        while True:
            await self._pace.turn()
            try:
                return await self._once(request)
            except Stumbled as stumble:
                if not delays or stumble.wait > MAX_DELAY:
                    raise ProviderFault(self.name, stumble.reason) from None
                await asyncio.sleep(max(delays.pop(0), stumble.wait))

    async def _once(self, request: httpx2.Request) -> Any:
        try:
            async with asyncio.timeout(self._seconds):
                answer = await self._http.send(request, stream=True)
                try:
                    body = await self._body(answer)
                finally:
                    await answer.aclose()
        except (httpx2.HTTPError, TimeoutError) as error:
            raise Stumbled(f"cannot be asked: {type(error).__name__}") from None
        if answer.status_code == _TOO_MANY:
            raise Stumbled("wants fewer requests", _seconds_of(answer))
        if answer.status_code in _BUSY:
            raise Stumbled(f"answers with status {answer.status_code}", _seconds_of(answer))
        return self._result(answer.status_code, body)

    async def _body(self, answer: httpx2.Response) -> bytes:
        body = bytearray()
        async for piece in answer.aiter_bytes():
            body += piece
            if len(body) > MAX_ANSWER:
                raise ProviderFault(self.name, f"answers with more than {MAX_ANSWER} bytes")
        return bytes(body)

    def _result(self, status: int, body: bytes) -> Any:
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            raise ProviderFault(self.name, f"answers with no JSON (status {status})") from None
        if not isinstance(document, dict) or "ok" not in document:
            raise ProviderFault(self.name, f"is no toncenter API (status {status})")
        if document["ok"] is not True:
            raise Refused(status, str(document.get("error", ""))[:MAX_REASON])
        if "result" not in document:
            raise ProviderFault(self.name, "answers without a result")
        return document["result"]


def _seconds_of(answer: httpx2.Response) -> float:
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0


def _is_loopback(url: str) -> bool:
    return httpx2.URL(url).host in {"127.0.0.1", "::1", "localhost"}
