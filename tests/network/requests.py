"""Sealed requests by hand, for stories in which the client does what no client does."""

import json
import os
import time
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import httpx2
import msgspec

from bombyx.attestation.directory import Directory, Entry
from bombyx.attestation.keyset import keyset_digest
from bombyx.chat.body import encode_body
from bombyx.envelope.header import Candidate, Header, hash_header
from bombyx.envelope.keys import PublicSealingKey, decode_public_key
from bombyx.envelope.plaintext import PlaintextHead
from bombyx.envelope.request import Entropy, SealedRequest, seal_request
from bombyx.money.cost import Rates, worst_case
from bombyx.money.offer import offer_hash
from bombyx.signing import Role, Signer
from tests.network.harness import MODEL, Network

SEALED = "application/vnd.bombyx.sealed"
CHAT = "/v1/chat/completions"
FEE_BPS = 500
MAX_INPUT, MAX_OUTPUT = 2000, 4000


def now() -> int:
    return int(time.time())  # noqa: TID251 - a client of its own


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def http() -> httpx2.AsyncClient:
    return httpx2.AsyncClient(trust_env=False, timeout=20)


async def directory(net: Network, model: str = MODEL) -> Directory:
    async with http() as client:
        answer = await client.get(
            f"{net.url}/v1/confidential/workers?model={model}", headers=bearer(net.api_key)
        )
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=Directory)


def body(text: str, **fields: Any) -> dict[str, Any]:
    return {
        "model": MODEL,
        "stream": True,
        "messages": [{"role": "user", "content": text}],
        **fields,
    }


def header(net: Network, entries: Sequence[Entry], asked: dict[str, Any], **changes: Any) -> Header:
    rates = Rates.of(entries[0].offers[0].offer.prices)
    cost = worst_case(max_input=MAX_INPUT, max_output=MAX_OUTPUT, rates=rates, fee_bps=FEE_BPS)
    honest = Header(
        v="bombyx/1",
        id=os.urandom(16).hex(),
        gateway=net.context.gateway,
        method="POST",
        path=CHAT,
        model=MODEL,
        stream=bool(asked.get("stream")),
        tier="sealed",
        payer="",
        issued_at=now(),
        max_input_tokens=MAX_INPUT,
        max_output_tokens=MAX_OUTPUT,
        max_cost_nano=str(cost.charge),
        fee_bps=FEE_BPS,
        candidates=[
            Candidate(
                worker=keyset_digest(entry.keyset),
                key_id=entry.keyset.hpke[0].id,
                offer=offer_hash(entry.offers[0].offer),
            )
            for entry in entries
        ],
    )
    return msgspec.structs.replace(honest, **changes)


def payer_of(account: str) -> Signer:
    """The one payer key of an account in these tests."""
    return Signer(Role.PAYER, sha256(account.encode()).digest())


def seal(
    net: Network,
    entries: Sequence[Entry],
    asked: dict[str, Any],
    *,
    payer: Signer | None = None,
    **changes: Any,
) -> SealedRequest:
    signer = payer or payer_of(net.account)
    clear = header(net, entries, asked, **{"payer": signer.public_hex, **changes})
    return seal_request(
        hash_header(clear),
        PlaintextHead(content_type="application/json"),
        encode_body(asked),
        keys=[PublicSealingKey.from_bytes(decode_public_key(e.keyset.hpke[0].pk)) for e in entries],
        payer=signer,
        entropy=Entropy(os.urandom(32), tuple(os.urandom(32) for _ in clear.candidates)),
    )


async def post(
    net: Network, content: bytes, *, key: str | None = None, media: str = SEALED
) -> httpx2.Response:
    async with http() as client:
        return await client.post(
            net.url + CHAT,
            content=content,
            headers={"content-type": media, **bearer(net.api_key if key is None else key)},
        )


def error_of(answer: httpx2.Response) -> tuple[int, str]:
    """Status and code of an error, whose form is checked as well."""
    document = json.loads(answer.content)
    error = document["error"]
    assert set(error) == {"message", "type", "code", "param"}, error
    assert isinstance(error["message"], str)
    assert error["message"]
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["content-type"] in {"application/json", "application/problem+json"}
    return answer.status_code, error["code"]
