"""`GET /v1/confidential/evidence/{worker}`: why a worker was listed, to check again (SPEC 17.12).

A receipt names its worker by the digest of the keyset; by that name everybody who may ask the
gateway anything finds the decision, long after the worker left.
"""

import re
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from bombyx.attestation.bundle import write_bundle
from bombyx.errors import NotFound
from gateway.http import ContextDep, KeyDep

router = APIRouter(prefix="/v1/confidential/evidence", tags=["directory"])

_WORKER = re.compile(r"[0-9a-f]{64}")
_MAX_AT = 2**40


@router.get("/{worker}", response_class=Response)
async def bundle(
    worker: str,
    context: ContextDep,
    _key: KeyDep,
    at: Annotated[int | None, Query(ge=0, le=_MAX_AT)] = None,
) -> Response:
    """The latest decision about a worker, or the latest by unix second `at`, as a bundle."""
    found = await context.archive.bundle(worker, at=at) if _WORKER.fullmatch(worker) else None
    if found is None:
        raise NotFound("there is no decision about such a worker")
    headers = {"content-disposition": f'attachment; filename="{worker}.json"'}
    return Response(write_bundle(found), media_type="application/json", headers=headers)
