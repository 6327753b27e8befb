"""`GET /v1/receipts/{id}` and `GET /v1/receipts?c=`: what became of a request (SPEC 6)."""

import re
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import Response

from bombyx.errors import NotFound
from gateway.context import Context
from gateway.http import ContextDep, KeyDep
from gateway.metering.rows import StoredClaim

router = APIRouter(prefix="/v1/receipts", tags=["receipts"])

_C = r"^[0-9a-f]{64}$"
_ID = re.compile(r"[0-9a-f]{32}")


async def describe(context: Context, claim: StoredClaim) -> Response:
    """State of a claim, with the receipt that settled it and the keyset that signed it."""
    document: dict[str, object] = {
        "id": claim.id,
        "c": claim.c.hex(),
        "state": "settled" if claim.settled else "open",
        "charge_nano": str(claim.charge or 0),
    }
    for receipt in await context.store.receipts_of(claim.c):
        if claim.statement_hash in (None, receipt.statement_hash):
            document["disposition"] = receipt.disposition.value
            document["receipt"] = msgspec.Raw(receipt.document)
            keyset = await context.archive.keyset(receipt.worker)
            if keyset is not None:
                document["keyset"] = keyset
    return Response(msgspec.json.encode(document), media_type="application/json")


@router.get("/{request_id}", response_class=Response)
async def by_id(request_id: str, context: ContextDep, key: KeyDep) -> Response:
    """By the request's id (`x-bombyx-id`)."""
    is_id = _ID.fullmatch(request_id) is not None
    claims = await context.store.claims_by_id(key.account, request_id) if is_id else []
    if not claims:
        raise NotFound("there is no such receipt")
    return await describe(context, claims[0])


@router.get("", response_class=Response)
async def by_commitment(
    context: ContextDep, key: KeyDep, c: Annotated[str, Query(pattern=_C)]
) -> Response:
    """By the commitment `c` of a sealed request."""
    raw = bytes.fromhex(c)
    claim = (await context.store.find_claims([raw])).get(raw)
    if claim is None or claim.account != key.account:
        raise NotFound("there is no such receipt")
    return await describe(context, claim)
