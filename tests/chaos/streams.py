"""Sealed streams through the client library, and all that their clients saw (SPEC 6, 14)."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import httpx2
import msgspec
import openai

import bombyx
from bombyx.client.refusals import PROBLEM_TYPE
from bombyx.envelope.request import parse_request
from tests.chaos.site import SCRIPTED, Site

PATIENCE_SECONDS = 90.0
PAUSE_AFTER_ERROR_SECONDS = 0.3
SHORTEST, PACE_MS = 30, (30, 60)
"""Tokens of an answer, and the pause before each."""
LONGEST_WHOLE = 50
"""Of an answer that is not streamed: 3 s, in which nobody hears anything."""
SESSIONS = 4
"""Clients that share a directory of workers, as one application's do."""
KINDS = {"plain": 76, "whole": 10, "leave": 7, "error": 2, "crash": 2, "cut": 2, "hang": 1}
"""How often each, in per cent. All but the first three are faults of the scripted engine."""
UNPROCESSABLE = 422


@dataclass(slots=True)
class Post:
    """One sealed request on the wire, and what the gateway answered."""

    at: float
    c: str
    candidates: list[str]
    status: int = 0
    worker: str = ""
    is_problem: bool = False
    refusals: list[tuple[str, str]] = field(default_factory=list)
    """Worker and code of each."""


@dataclass(slots=True)
class Ask:
    """One request of a user; times are monotonic seconds."""

    number: int
    kind: str
    began: float
    posts: list[Post] = field(default_factory=list)
    words: int = 0
    first_at: float | None = None
    fault_at: float | None = None
    """When the engine's own fault was due: it had said as much as the prompt allowed."""
    ended: float | None = None
    outcome: str = ""
    code: str = ""
    message: str = ""
    receipts: list[bombyx.VerifiedAnswer] = field(default_factory=list)


_asking: ContextVar[Ask] = ContextVar("asking")


def _take_receipt(answer: bombyx.VerifiedAnswer) -> None:
    _asking.get().receipts.append(answer)


class Wire(httpx2.AsyncHTTPTransport):
    """The network, noting what belongs to which request."""

    def __init__(self) -> None:
        super().__init__(trust_env=False)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path != "/v1/chat/completions":
            return await super().handle_async_request(request)
        head, _ = parse_request(await request.aread())
        candidates = [one.worker for one in head.header.header.candidates]
        post = Post(time.monotonic(), head.c.hex(), candidates)
        _asking.get().posts.append(post)
        response = await super().handle_async_request(request)
        post.status = response.status_code
        post.worker = response.headers.get("x-bombyx-worker", "")
        post.is_problem = response.headers.get("content-type", "") == PROBLEM_TYPE
        if post.is_problem:
            body = await response.aread()
            document = msgspec.json.decode(body, type=dict[str, Any])
            said = [one["refusal"] for one in document["refusals"]]
            post.refusals = [(one["worker"], one["code"]) for one in said]
            # It was read: who sent the request gets one that was not.
            return httpx2.Response(response.status_code, headers=response.headers, content=body)
        return response


class Streams:
    """So many clients, each with one stream at a time, until told to stop."""

    def __init__(self, site: Site, *, clients: int, seed: int, longest: int) -> None:
        self.asks: list[Ask] = []
        self.wrong: list[str] = []
        self._site = site
        self._longest = longest
        self._stopping = asyncio.Event()
        self._draws = [random.Random(f"{seed}/{number}") for number in range(clients)]
        self._http = [self._client() for _ in range(SESSIONS)]
        self._tasks: list[asyncio.Task[None]] = []
        self._running: set[int] = set()

    def _client(self) -> httpx2.AsyncClient:
        return bombyx.async_http_client(
            policy=self._site.policy,
            timeout=httpx2.Timeout(PATIENCE_SECONDS, connect=5.0),
            on_receipt=_take_receipt,
            transport=Wire(),
        )

    def start(self) -> None:
        """Ask from now on."""
        for number, draw in enumerate(self._draws):
            http = self._http[number % SESSIONS]
            self._tasks.append(asyncio.create_task(self._ask_on(draw, http)))

    def check(self) -> None:
        """Raise what a client failed with, if one did."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def stop(self) -> None:
        """Let the streams that run come to their end."""
        self._stopping.set()
        await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """Give up what still runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for http in self._http:
            await http.aclose()

    @property
    def streaming(self) -> int:
        """Streams that have begun and not ended."""
        return sum(self.asks[number].first_at is not None for number in self._running)

    async def _ask_on(self, draw: random.Random, http: httpx2.AsyncClient) -> None:
        while not self._stopping.is_set():
            if not await self._once(draw, http):
                await asyncio.sleep(PAUSE_AFTER_ERROR_SECONDS)

    async def _once(self, draw: random.Random, http: httpx2.AsyncClient) -> bool:
        (kind,) = draw.choices(list(KINDS), weights=list(KINDS.values()))
        ask = Ask(len(self.asks), kind, time.monotonic())
        self.asks.append(ask)
        self._running.add(ask.number)
        _asking.set(ask)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._stream(ask, draw, http)
        except openai.APIError as error:
            ask.outcome, ask.message = "error", error.message
            ask.code = str(error.code or "(no code)")
            if isinstance(error, openai.APIConnectionError):
                ask.code = "(no connection)"
        except TimeoutError:
            ask.outcome, ask.code = "error", "(no end)"
        finally:
            ask.ended = time.monotonic()
            self._running.discard(ask.number)
        return ask.outcome != "error"

    async def _stream(self, ask: Ask, draw: random.Random, http: httpx2.AsyncClient) -> None:
        last, pace = draw.randint(SHORTEST, self._longest), draw.randint(*PACE_MS)
        breaks_after = 0 if ask.kind == "error" else draw.randint(3, last - 1)
        is_fault = ask.kind not in ("plain", "whole", "leave")
        prompt = f"pace: {pace}\ncount: {last}"
        if is_fault:
            prompt += f"\nfault: {ask.kind} {breaks_after}"
        sdk = openai.AsyncOpenAI(
            base_url=f"{self._site.url}/v1",
            api_key=self._site.api_key,
            http_client=http,
            max_retries=0,
        )
        if ask.kind == "whole":
            last = min(last, LONGEST_WHOLE)
            await self._whole(ask, last, sdk, f"pace: {pace}\ncount: {last}")
            return
        if ask.kind == "error":
            ask.fault_at = ask.began
        stream = await sdk.chat.completions.create(
            model=SCRIPTED,
            messages=[{"role": "user", "content": prompt}],
            stream=True,
            stream_options={"include_usage": True},
        )
        text = ""
        async for piece in _pieces(stream, ask):
            text += piece
            ask.words = len(text.split())
            if is_fault and ask.words >= breaks_after and ask.fault_at is None:
                ask.fault_at = time.monotonic()
            if ask.kind == "leave" and ask.words >= breaks_after:
                await stream.close()
                ask.outcome = "left"
                return
        ask.outcome = "complete"
        self._judge(ask, text.split(), last)

    async def _whole(self, ask: Ask, last: int, sdk: openai.AsyncOpenAI, prompt: str) -> None:
        """Until it is whole another worker may still give it, whatever happens to the first."""
        answer = await sdk.chat.completions.create(
            model=SCRIPTED, messages=[{"role": "user", "content": prompt}]
        )
        ask.outcome = "complete"
        self._judge(ask, (answer.choices[0].message.content or "").split(), last)

    def _judge(self, ask: Ask, words: list[str], last: int) -> None:
        if words != [str(number) for number in range(1, last + 1)]:
            self.wrong.append(f"request {ask.number}: a complete answer that is not the answer")
        if len(ask.receipts) != 1:
            self.wrong.append(f"request {ask.number}: success with {len(ask.receipts)} receipts")


async def _pieces(stream: openai.AsyncStream[Any], ask: Ask) -> AsyncIterator[str]:
    async for chunk in stream:
        if ask.first_at is None:
            ask.first_at = time.monotonic()
        for choice in chunk.choices:
            yield choice.delta.content or ""
