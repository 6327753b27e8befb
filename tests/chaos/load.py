"""Clients that ask all the time, and what each of their requests came to."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2
import openai

import bombyx
from tests.chaos.site import LLAMA, SCRIPTED, Site

PATIENCE_SECONDS = 90.0
"""No request may take longer, whatever happens to the network."""
PAUSE_AFTER_ERROR_SECONDS = 0.3
_NOT_EOS = {str(token): -100 for token in range(8)}
"""Keeps the tiny model from ending its answer: its special tokens come first."""


@dataclass(slots=True)
class Tally:
    """What clients saw."""

    requests: int = 0
    complete: int = 0
    left: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    """What must never be: silent success, an error without a name, a request without an end."""
    receipts: list[bombyx.VerifiedAnswer] = field(default_factory=list)
    streaming: set[int] = field(default_factory=set)
    """Streams that have begun and not ended, by number of their request."""


class Load:
    """So many clients, each with one request at a time, until told to stop."""

    def __init__(self, site: Site, *, clients: int, seed: int, models: tuple[str, ...]) -> None:
        self.tally = Tally()
        self._site = site
        self._clients = clients
        self._seed = seed
        self._models = models
        self._stopping = asyncio.Event()
        self._http = bombyx.async_http_client(
            policy=site.policy,
            timeout=httpx2.Timeout(60.0, connect=5.0),
            on_receipt=self.tally.receipts.append,
        )
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Ask from now on."""
        for number in range(self._clients):
            draw = random.Random(f"{self._seed}/{number}")
            self._tasks.append(asyncio.create_task(self._ask_on(draw)))

    def check(self) -> None:
        """Raise what a client failed with, if one did."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def stop(self) -> None:
        """Let the requests that run come to their end."""
        self._stopping.set()
        await asyncio.gather(*self._tasks)
        await self._http.aclose()

    def cancel(self) -> None:
        """Give up."""
        for task in self._tasks:
            task.cancel()

    async def _ask_on(self, draw: random.Random) -> None:
        while not self._stopping.is_set():
            if not await self._once(draw):
                await asyncio.sleep(PAUSE_AFTER_ERROR_SECONDS)

    async def _once(self, draw: random.Random) -> bool:
        tally = self.tally
        tally.requests += 1
        number = tally.requests
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._drawn(draw)(number, draw)
        except openai.APIConnectionError:
            tally.errors["(no connection)"] += 1
        except openai.APIError as error:
            tally.errors[str(error.code)] += 1
            if error.code is None:
                tally.wrong.append(f"request {number}: an error without a code: {error.message}")
        except TimeoutError:
            tally.wrong.append(f"request {number}: no end after {PATIENCE_SECONDS} s")
        else:
            return True
        finally:
            tally.streaming.discard(number)
        return False

    def _drawn(self, draw: random.Random) -> Callable[[int, random.Random], Awaitable[None]]:
        kinds = [self._stream, self._whole, self._leave, self._persist, self._other_engine]
        (kind,) = draw.choices(kinds, weights=[60, 10, 10, 10, 10 if LLAMA in self._models else 0])
        return kind

    def _sdk(self, retries: int = 0) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(
            base_url=f"{self._site.url}/v1",
            api_key=self._site.api_key,
            http_client=self._http,
            max_retries=retries,
        )

    async def _stream(self, number: int, draw: random.Random) -> None:
        last = draw.randint(40, 150)
        text = await self._read(number, _counting(last, pace=draw.randint(20, 50)))
        if text.split() != _numbers(last):
            self.tally.wrong.append(f"request {number}: a complete answer that is not the answer")

    async def _other_engine(self, number: int, draw: random.Random) -> None:
        await self._read(
            number,
            {
                "model": LLAMA,
                "messages": [
                    {"role": "user", "content": f"Count from 1 to {draw.randint(5, 40)}."}
                ],
                "max_tokens": draw.randint(600, 1500),
                "logit_bias": _NOT_EOS,
                "logprobs": True,
                "top_logprobs": 20,
            },
        )

    async def _read(self, number: int, request: dict[str, Any]) -> str:
        """A whole stream; it is a success only with a verified receipt at its end."""
        stream = await self._sdk().chat.completions.create(
            **request, stream=True, stream_options={"include_usage": True}
        )
        text, verified = "", False
        async for chunk in stream:
            self.tally.streaming.add(number)
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
            verified = verified or _is_verified(chunk.usage)
        self._succeed(number, verified=verified)
        return text

    async def _whole(self, number: int, draw: random.Random, retries: int = 0) -> None:
        last = draw.randint(20, 80)
        answer = await self._sdk(retries).chat.completions.create(
            **_counting(last, pace=draw.randint(10, 30))
        )
        self._succeed(number, verified=_is_verified(answer.usage))
        if (answer.choices[0].message.content or "").split() != _numbers(last):
            self.tally.wrong.append(f"request {number}: a complete answer that is not the answer")

    async def _persist(self, number: int, draw: random.Random) -> None:
        """With the SDK's own retries: the same bytes again, never a second bill."""
        await self._whole(number, draw, retries=4)

    async def _leave(self, number: int, draw: random.Random) -> None:
        stream = await self._sdk().chat.completions.create(**_counting(400, pace=20), stream=True)
        wanted = draw.randint(1, 60)
        async for _ in stream:
            self.tally.streaming.add(number)
            wanted -= 1
            if not wanted:
                break
        await stream.close()
        self.tally.left += 1

    def _succeed(self, number: int, *, verified: bool) -> None:
        self.tally.complete += 1
        if not verified:
            self.tally.wrong.append(f"request {number}: success without a verified receipt")


def _counting(last: int, *, pace: int) -> dict[str, Any]:
    content = f"pace: {pace}\ncount: {last}"
    return {"model": SCRIPTED, "messages": [{"role": "user", "content": content}]}


def _numbers(last: int) -> list[str]:
    return [str(number) for number in range(1, last + 1)]


def _is_verified(usage: Any) -> bool:
    extra = getattr(usage, "model_extra", None) or {}
    return extra.get("bombyx", {}).get("verified") is True
