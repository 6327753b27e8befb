"""Sealed requests by hand, for a client that does what no client does (SPEC 2)."""

import asyncio
import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec

from bombyx.attack.means.simulator import unix
from bombyx.attack.target import Target
from bombyx.attestation.directory import Directory, Entry
from bombyx.attestation.keyset import keyset_digest
from bombyx.chat.body import encode_body
from bombyx.chat.paths import CHAT_PATH
from bombyx.envelope.header import Candidate, HashedHeader, Header, hash_header
from bombyx.envelope.keys import PublicSealingKey, decode_public_key
from bombyx.envelope.opener import DataOpened, EndOpened, ResponseOpener, UsageSeen
from bombyx.envelope.plaintext import PlaintextHead
from bombyx.envelope.request import Entropy, SealedRequest, seal_request
from bombyx.money.cost import Rates, worst_case
from bombyx.money.offer import offer_hash
from bombyx.money.receipt import Receipt
from bombyx.signing import SEED_BYTES, Role, Signer

SEALED_REQUEST = "application/vnd.bombyx.sealed"
SEALED_STREAM = "application/vnd.bombyx.sealed-stream"
MAX_INPUT, MAX_OUTPUT = 2000, 4000
"""What our headers promise unless an attack says otherwise."""
ANSWER_SECONDS = aiohttp.ClientTimeout(total=20)


@dataclass(frozen=True, slots=True, repr=False)
class Reply:
    """An HTTP answer, whole."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as a JSON object, empty for anything else."""
        try:
            document = json.loads(self.body)
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}

    @property
    def code(self) -> str:
        """The error's code, empty where it has none."""
        error = self.json().get("error")
        return str(error.get("code", "")) if isinstance(error, dict) else ""

    def __str__(self) -> str:
        return f"{self.status} {self.code}".strip()


@dataclass(slots=True)
class Read:
    """What a sealed answer held."""

    text: str = ""
    ended: bool = False
    receipt: Receipt | None = None


@dataclass(slots=True, repr=False)
class Forger:
    """A client under one API key and payer key."""

    target: Target
    api_key: str = ""
    payer: Signer = field(default_factory=lambda: Signer(Role.PAYER, os.urandom(SEED_BYTES)))

    def __post_init__(self) -> None:
        self.api_key = self.api_key or self.target.api_key

    @property
    def model(self) -> str:
        """The first model of the policy."""
        if self.target.policy is None:
            raise ValueError("a gateway is attacked with its policy at hand")
        return self.target.policy.models[0].name

    async def directory(self) -> Directory:
        """Who serves the model."""
        reply = await self.get(f"/v1/confidential/workers?model={self.model}")
        return msgspec.json.decode(reply.body, type=Directory)

    def chat(self, text: str, **fields: Any) -> dict[str, Any]:
        """A body as SDKs make it."""
        messages = [{"role": "user", "content": text}]
        return {"model": self.model, "stream": True, "messages": messages, **fields}

    def header(
        self, listed: Directory, entries: Sequence[Entry], body: dict[str, Any], **changes: Any
    ) -> Header:
        """An honest header but for `changes`."""
        rates = Rates.of(entries[0].offers[0].offer.prices)
        cost = worst_case(
            max_input=changes.get("max_input_tokens", MAX_INPUT),
            max_output=changes.get("max_output_tokens", MAX_OUTPUT),
            rates=rates,
            fee_bps=listed.fee_bps,
        )
        honest = Header(
            v="bombyx/1",
            id=os.urandom(16).hex(),
            gateway=listed.gateway,
            method="POST",
            path=CHAT_PATH,
            model=self.model,
            stream=bool(body.get("stream")),
            tier="sealed",
            payer=self.payer.public_hex,
            issued_at=unix(),
            max_input_tokens=MAX_INPUT,
            max_output_tokens=MAX_OUTPUT,
            max_cost_nano=str(cost.charge),
            fee_bps=listed.fee_bps,
            candidates=[candidate(entry) for entry in entries],
        )
        return msgspec.structs.replace(honest, **changes)

    def seal(
        self,
        header: Header | HashedHeader,
        entries: Sequence[Entry],
        body: dict[str, Any] | bytes,
        *,
        cache_secret: str | None = None,
        signer: Signer | None = None,
    ) -> SealedRequest:
        """Seal a body to entries of a directory; `signer` signs in the payer's place."""
        hashed = header if isinstance(header, HashedHeader) else hash_header(header)
        head = PlaintextHead(content_type="application/json")
        if cache_secret is not None:
            head = msgspec.structs.replace(head, user_cache_secret=cache_secret)
        return seal_request(
            hashed,
            head,
            body if isinstance(body, bytes) else encode_body(body),
            keys=[sealing_key(entry) for entry in entries],
            payer=signer or self.payer,
            entropy=Entropy(os.urandom(32), tuple(os.urandom(32) for _ in entries)),
        )

    async def sealed(self, text: str, *, count: int = 1, **changes: Any) -> SealedRequest:
        """An honest request to the first `count` workers, but for changes to its header."""
        listed = await self.directory()
        entries, body = listed.workers[:count], self.chat(text)
        return self.seal(self.header(listed, entries, body, **changes), entries, body)

    async def post(self, content: bytes, *, media_type: str = SEALED_REQUEST) -> Reply:
        """Send a request as it is."""
        headers = {"content-type": media_type, "authorization": f"Bearer {self.api_key}"}
        url = self.target.gateway + CHAT_PATH
        sending = self.target.http.post(url, data=content, headers=headers, timeout=ANSWER_SECONDS)
        async with sending as answer:
            return Reply(answer.status, _lower(answer), await answer.read())

    async def get(self, path: str) -> Reply:
        """Fetch a path of the gateway."""
        headers = {"authorization": f"Bearer {self.api_key}"}
        url = self.target.gateway + path
        async with self.target.http.get(url, headers=headers, timeout=ANSWER_SECONDS) as answer:
            return Reply(answer.status, _lower(answer), await answer.read())

    async def settled(self, c: bytes, *, seconds: float = 3.0) -> dict[str, Any]:
        """The same once the claim is settled, or as it is after `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    if (await self.outcome(c)).get("state") == "settled":
                        break
                    await asyncio.sleep(0.05)
        return await self.outcome(c)

    async def outcome(self, c: bytes) -> dict[str, Any]:
        """What the gateway says became of a commitment, empty where it knows of none."""
        reply = await self.get(f"/v1/receipts?c={c.hex()}")
        return reply.json() if reply.status == 200 else {}  # noqa: PLR2004 (HTTP's own)


def candidate(entry: Entry) -> Candidate:
    """How a header names a directory's entry."""
    return Candidate(
        worker=keyset_digest(entry.keyset),
        key_id=entry.keyset.hpke[0].id,
        offer=offer_hash(entry.offers[0].offer),
    )


def sealing_key(entry: Entry) -> PublicSealingKey:
    """The key that an entry is sealed to."""
    return PublicSealingKey.from_bytes(decode_public_key(entry.keyset.hpke[0].pk))


def read_answer(sealed: SealedRequest, body: bytes) -> Read:
    """Open what opens of a sealed answer; raises the core's errors where it breaks."""
    workers = [one.worker for one in sealed.header.header.candidates]
    opener = ResponseOpener(
        sealed.header.h, dict(zip(workers, sealed.response_secrets, strict=True))
    )
    read = Read()
    for opened in opener.feed(body):
        if isinstance(opened, DataOpened):
            read.text += opened.payload.decode("utf-8", "replace")
        elif isinstance(opened, UsageSeen):
            read.receipt = msgspec.json.decode(opened.receipt, type=Receipt)
        elif isinstance(opened, EndOpened):
            read.ended = True
    return read


def _lower(answer: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.headers.items()}
