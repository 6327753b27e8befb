"""Clients in a storm that pay by channel: several requests each at once, until told to stop."""

import asyncio
import random
from typing import Any

import openai

from tests.chaos.load import PATIENCE_SECONDS, Tally
from tests.chaos.purses import Purse, http_of
from tests.chaos.site import SCRIPTED

PAUSE_AFTER_ERROR_SECONDS = 0.5
FATAL = frozenset(
    {
        "gateway_lied", "channel_halted", "channel_rolled_back", "terms_refused",
        "unproven_charges", "voucher_forged", "voucher_foreign",
        "voucher_malformed", "channel_books", "proof_refused", "invalid_request_error",
    }
)  # fmt: skip
"""No kill may bring these about between honest parties.

`payment_refused` may come: a request is corrected once, and a kill can lose that correction before
the SDK sends the same bytes again. Nothing is signed then, and nothing is lost.
"""


class Customers:
    """So many clients, each with so many requests at a time."""

    def __init__(self, purses: list[Purse], *, clients: int, lanes: int, seed: int) -> None:
        self.tally = Tally()
        self.running = 0
        self.most = 0
        """Requests that ran at once, at the most."""
        self._purses = purses
        self._stopping = asyncio.Event()
        self._draws = [
            (purses[number % len(purses)], random.Random(f"{seed}/{number}/{lane}"))
            for number in range(clients)
            for lane in range(lanes)
        ]
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def served(self) -> int:
        """Requests that came to a good end, or were left by their client."""
        return self.tally.complete + self.tally.left

    def start(self) -> None:
        """Ask from now on."""
        for purse in self._purses:
            purse.http = http_of(purse, self.tally.receipts)
        self._tasks = [asyncio.create_task(self._ask_on(*one)) for one in self._draws]

    def check(self) -> None:
        """Raise what a client failed with, if one did."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def stop(self) -> None:
        """Let the requests that run come to their end."""
        self._stopping.set()
        await asyncio.gather(*self._tasks)
        for purse in self._purses:
            if purse.http is not None:
                await purse.http.aclose()
                purse.http = None

    def cancel(self) -> None:
        """Give up."""
        for task in self._tasks:
            task.cancel()

    async def _ask_on(self, purse: Purse, draw: random.Random) -> None:
        await asyncio.sleep(draw.random())
        while not self._stopping.is_set():
            if not await self._once(purse, draw):
                await asyncio.sleep(PAUSE_AFTER_ERROR_SECONDS * (1 + draw.random()))

    async def _once(self, purse: Purse, draw: random.Random) -> bool:
        tally = self.tally
        tally.requests += 1
        number = tally.requests
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._ask(number, purse, draw)
        except openai.APIConnectionError:
            tally.errors["(no connection)"] += 1
        except openai.APIError as error:
            tally.errors[str(error.code)] += 1
            if error.code is None or error.code in FATAL:
                tally.wrong.append(
                    f"request {number} ({purse.name}): {error.code}: {error.message}"
                )
        except TimeoutError:
            tally.wrong.append(f"request {number}: no end after {PATIENCE_SECONDS} s")
        else:
            return True
        finally:
            self.running -= 1
            tally.streaming.discard(number)
        return False

    async def _ask(self, number: int, purse: Purse, draw: random.Random) -> None:
        (kind,) = draw.choices(["stream", "whole", "leave"], weights=[75, 15, 10])
        last = draw.randint(20, 40)
        request: dict[str, Any] = {
            "model": SCRIPTED,
            "messages": [{"role": "user", "content": f"pace: 80\ncount: {last}"}],
            "max_tokens": 64,
        }
        sdk = openai.AsyncOpenAI(
            base_url=purse.base_url,
            api_key=purse.site.api_key,
            http_client=purse.http,
            max_retries=0 if kind != "whole" else 3,
        )
        if kind == "whole":
            answer = await sdk.chat.completions.create(**request)
            text, usage = answer.choices[0].message.content or "", answer.usage
        else:
            leave_at = draw.randint(1, last) if kind == "leave" else 0
            text, usage = await self._read(number, sdk, request, leave_at)
            if leave_at:
                self.tally.left += 1
                return
        self.tally.complete += 1
        extra = getattr(usage, "model_extra", None) or {}
        if extra.get("bombyx", {}).get("verified") is not True:
            self.tally.wrong.append(f"request {number}: success without a verified receipt")
        if text.split() != [str(one) for one in range(1, last + 1)]:
            self.tally.wrong.append(f"request {number}: a complete answer that is not the answer")

    async def _read(
        self, number: int, sdk: openai.AsyncOpenAI, request: dict[str, Any], leave_at: int
    ) -> tuple[str, Any]:
        stream = await sdk.chat.completions.create(
            **request, stream=True, stream_options={"include_usage": True}
        )
        text, usage, pieces = "", None, 0
        async for chunk in stream:
            self.tally.streaming.add(number)
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
            usage = chunk.usage or usage
            pieces += 1
            if pieces == leave_at:
                await stream.close()
                break
        return text, usage
