"""Checks of `Idempotency-Key`: whoever honours it runs, and bills, a request once."""

import secrets

from bombyx.conformance.chat import CHAT, HELLO, asking
from bombyx.conformance.record import check
from bombyx.conformance.server import Answer, Server
from bombyx.conformance.verdict import Lacks, at, expect

AREA = "retries"
RFC = "draft-ietf-httpapi-idempotency-key-header sections 2.4 to 2.7; `idempotency_key` of the SDKs"
_OK, _CONFLICT = 200, 409


@check(AREA, RFC)
async def a_repetition_is_not_run_again(server: Server) -> str:
    """The same request under the same key gets the same answer, or 409, and never another one."""
    headers = {"idempotency-key": secrets.token_hex(16)}
    ids = [at((await server.post(CHAT, asking(HELLO), headers=headers)).ok(), "id", kind=str)]
    again = await server.post(CHAT, asking(HELLO), headers=headers)
    if again.status == _CONFLICT:
        return f"409 {again.error(_CONFLICT)['code']}"
    ids.append(at(again.ok(), "id", kind=str))
    if ids[0] != ids[1]:
        raise Lacks("the header is ignored, as OpenAI does")
    return "the same answer"


@check(AREA, RFC)
async def a_key_stands_for_one_body(server: Server) -> str:
    """Another request under a key that was used is refused with 409 or 422."""
    headers = {"idempotency-key": secrets.token_hex(16)}
    first = (await server.post(CHAT, asking(HELLO), headers=headers)).ok()
    if not await _honours(server, headers, first):
        raise Lacks("the header is ignored, as OpenAI does")
    other = await server.post(CHAT, asking("say: something else"), headers=headers)
    error = other.error(409, 422)
    return f"{other.status} {error['code']}"


async def _honours(server: Server, headers: dict[str, str], first: object) -> bool:
    again: Answer = await server.post(CHAT, asking(HELLO), headers=headers)
    same = again.status == _OK and at(again.document(), "id", kind=str) == at(first, "id", kind=str)
    expect(again.status in (_OK, _CONFLICT), f"the repetition was answered {again.status}")
    return same or again.status == _CONFLICT
