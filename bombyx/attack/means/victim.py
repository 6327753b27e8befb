"""A client as a victim: our library with an identity of its own, or somebody's command.

A command finds `OPENAI_BASE_URL`, `OPENAI_API_KEY`, `BOMBYX_CLIENT_POLICY` (a file) and, where the
user has set one, `BOMBYX_CLIENT_MAX_REQUEST_NANO` in its environment, and on stdin the body of a
chat completion. It asks once, prints the answer's text, and exits with 0 only if it believes it.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2

from bombyx.attack.means.simulator import unix
from bombyx.attack.target import Target
from bombyx.chat.paths import CHAT_PATH
from bombyx.client.answer import Listeners
from bombyx.client.channel.wallet import Wallet
from bombyx.client.identity import Identity
from bombyx.client.receipts import VerifiedAnswer
from bombyx.client.session import Session, Wishes
from bombyx.client.transport_httpx2 import sealed_async_client
from bombyx.units import Nano

PROMPT = "say: the answer is a cocoon of silk"
COMMAND_SECONDS = 30.0
_PIPE = asyncio.subprocess.PIPE
_TIMEOUT = httpx2.Timeout(20)


@dataclass(slots=True)
class Told:
    """What the user was told."""

    status: int
    text: str = ""
    code: str = ""
    done: bool = False
    receipts: list[VerifiedAnswer] = field(default_factory=list)

    @property
    def believed(self) -> bool:
        """Whether the user takes this for a complete answer of the model."""
        return self.status == 200 and not self.code and self.done  # noqa: PLR2004 (HTTP's own)

    def __str__(self) -> str:
        if self.believed:
            return f"believed: {len(self.text)} characters"
        return f"refused: {self.status} {self.code}".strip()


class Victim:
    """A user of the library; every one has other keys."""

    def __init__(
        self,
        target: Target,
        *,
        clock: Callable[[], int] = unix,
        max_cost: int | None = None,
        identity: Identity | None = None,
        wallet: Wallet | None = None,
    ) -> None:
        if target.policy is None:
            raise ValueError("a client has a policy")
        self._target = target
        self._max_cost = max_cost
        self._receipts: list[VerifiedAnswer] = []
        self._is_paying = wallet is not None
        self.model = target.policy.models[0].name
        self._session = Session(
            target.policy,
            identity or Identity(os.urandom(32), os.urandom(32)),
            clock=clock,
            draw=os.urandom,
            wallet=wallet,
            wishes=Wishes(
                Listeners(self._receipts.append), None if max_cost is None else Nano(max_cost)
            ),
        )

    async def ask(
        self, origin: str, prompt: str = PROMPT, *, stream: bool = True, **fields: Any
    ) -> Told:
        """Ask a gateway once, as an SDK would."""
        body: dict[str, Any] = {
            "model": self.model,
            "stream": stream,
            "messages": [{"role": "user", "content": prompt}],
            **fields,
        }
        if self._target.client and not self._is_paying:
            return await self._command(origin, body)
        before = len(self._receipts)
        async with sealed_async_client(self._session, timeout=_TIMEOUT, transport=None) as client:
            answer = await client.post(
                origin + CHAT_PATH,
                json=body,
                headers={"authorization": f"Bearer {self._target.api_key}"},
            )
        told = _streamed(answer) if stream else _whole(answer)
        told.receipts = self._receipts[before:]
        return told

    async def _command(self, origin: str, body: dict[str, Any]) -> Told:
        """The same by somebody else's client."""
        target = self._target
        environment = {
            **os.environ,
            "OPENAI_BASE_URL": f"{origin}/v1",
            "OPENAI_API_KEY": target.api_key,
            "BOMBYX_CLIENT_POLICY": str(target.policy_file or ""),
        }
        if self._max_cost is not None:
            environment["BOMBYX_CLIENT_MAX_REQUEST_NANO"] = str(self._max_cost)
        process = await asyncio.create_subprocess_exec(
            *target.client, stdin=_PIPE, stdout=_PIPE, stderr=_PIPE, env=environment
        )
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                out, _ = await process.communicate(json.dumps(body).encode())
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        text, code = out.decode("utf-8", "replace"), process.returncode
        if code == 0:
            return Told(200, text, done=True)
        return Told(502, text, f"exit_code_{code}")


def _streamed(answer: httpx2.Response) -> Told:
    if answer.status_code != 200 or answer.text.startswith("{"):  # noqa: PLR2004 (HTTP's own)
        return _whole(answer)
    told = Told(answer.status_code)
    for line in answer.text.split("\n"):
        if not line.startswith("data: "):
            continue
        data = line.removeprefix("data: ")
        if data == "[DONE]":
            told.done = True
            continue
        event = json.loads(data)
        told.code = told.code or str((event.get("error") or {}).get("code", ""))
        for choice in event.get("choices") or []:
            told.text += (choice.get("delta") or {}).get("content") or ""
    return told


def _whole(answer: httpx2.Response) -> Told:
    try:
        document = answer.json()
    except ValueError:
        return Told(answer.status_code)
    error = document.get("error") or {}
    choices = document.get("choices") or []
    text = "".join(str(choice["message"]["content"]) for choice in choices)
    return Told(answer.status_code, text, str(error.get("code", "")), done=bool(choices))
