"""`GET /v1/confidential/collateral/…`: vendors' words by name or content, vouched for by nobody.

Without a key: these are public documents, and a worker that wants one has no key yet.
"""

import re

from fastapi import APIRouter
from fastapi.responses import Response

from bombyx import canonical
from bombyx.errors import NotFound
from gateway.collateral.repository import Kept
from gateway.context import Context, unix_seconds
from gateway.http import ContextDep

router = APIRouter(prefix="/v1/confidential/collateral", tags=["directory"])

MAX_AGE_SECONDS = 3600
"""For how long a cache in front may give out a document without asking here."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_JSON = "application/json"


@router.get("/sha256/{digest}", response_class=Response)
async def by_digest(digest: str, context: ContextDep) -> Response:
    """A document that evidence names: of a worker that is listed, or of a vendor."""
    if not _DIGEST.fullmatch(digest):
        raise NotFound("there is no such collateral")
    shown = _shown(context, digest)
    if shown is not None:
        return Response(shown, media_type=_JSON)
    kept = await context.collateral.find_digest(digest)
    if kept is None:
        raise NotFound("there is no such collateral")
    return _answer(kept)


@router.get("/{name:path}", response_class=Response)
async def by_name(name: str, context: ContextDep) -> Response:
    """A document of a platform by its name, fetched from the vendor where it is not here."""
    try:
        return _answer(await context.collateral.find(name))
    except ValueError as error:
        raise NotFound(str(error)) from None


def _shown(context: Context, digest: str) -> bytes | None:
    """What a worker brought itself: its end is in it, and whoever reads it checks that."""
    for listed in context.registry.all():
        if listed.evidence.collateral == digest and listed.collateral is not None:
            return canonical.encode(listed.collateral)
    return None


def _answer(kept: Kept) -> Response:
    left = max(kept.next_update - unix_seconds(), 0)
    headers = {
        "cache-control": f"public, max-age={min(left, MAX_AGE_SECONDS)}",
        "etag": f'"{kept.digest}"',
    }
    return Response(kept.document, media_type=_JSON, headers=headers)
