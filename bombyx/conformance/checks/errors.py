"""Checks of refusals: the status, and one envelope whatever refuses."""

from typing import Any

from bombyx.conformance.chat import CHAT, HELLO, asking
from bombyx.conformance.checks.models import NOBODY
from bombyx.conformance.record import check
from bombyx.conformance.server import Server
from bombyx.conformance.verdict import Lacks, expect

AREA = "errors"
CODES = "guides/error-codes"
HUGE = 2**42
"""Four terabytes are too many everywhere."""


@check(AREA, CODES)
async def nobody_enters_without_a_key(server: Server) -> str:
    """A request without a key is a 401."""
    answer = await server.post(CHAT, asking(HELLO), headers={"authorization": ""})
    return _said(answer.error(401))


@check(AREA, CODES)
async def a_wrong_key_is_refused(server: Server) -> str:
    """A key that is none is a 401 `invalid_api_key`."""
    headers = {"authorization": "Bearer sk-nobodys-key"}
    error = (await server.post(CHAT, asking(HELLO), headers=headers)).error(401)
    expect(error["code"] == "invalid_api_key", f"the code is {error['code']}")
    return _said(error)


@check(AREA, CODES)
async def a_model_is_needed(server: Server) -> str:
    """A request that names no model is a 400 or 422."""
    return await _refused(server, {**asking(HELLO), "model": None}, 400, 422)


@check(AREA, CODES)
async def an_unknown_model_is_not_found(server: Server) -> str:
    """A model that nobody serves is a 404 `model_not_found`."""
    error = (await server.post(CHAT, {**asking(HELLO), "model": NOBODY})).error(404)
    expect(error["code"] == "model_not_found", f"the code is {error['code']}")
    return _said(error)


@check(AREA, CODES)
async def messages_are_needed(server: Server) -> str:
    """A chat request without messages, or with an empty list of them, is a 400 or 422."""
    await _refused(server, {"messages": []}, 400, 422)
    return await _refused(server, {}, 400, 422)


@check(AREA, CODES)
async def a_wrong_type_is_refused(server: Server) -> str:
    """A field of a wrong type is a 400 or 422, never taken for its default."""
    for wrong in ({"temperature": "hot"}, {"max_tokens": "many"}, {"stream": "please"}):
        said = await _refused(server, asking(HELLO, **wrong), 400, 422)
    return said


@check(AREA, CODES)
async def a_wrong_value_is_refused(server: Server) -> str:
    """A value out of its range is a 400 or 422."""
    for wrong in ({"temperature": 99}, {"max_tokens": -1}, {"tool_choice": "whichever"}):
        said = await _refused(server, asking(HELLO, **wrong), 400, 422)
    return said


@check(AREA, CODES)
async def broken_json_is_refused(server: Server) -> str:
    """A body that is not JSON is a 400."""
    return _said((await server.send("POST", CHAT, content=b'{"model": ')).error(400))


@check(AREA, "RFC 8259 section 8.1, on UTF-8")
async def broken_utf8_is_refused(server: Server) -> str:
    """A body that is not UTF-8 is a 400."""
    content = b'{"model": "%s", "messages": [{"role": "user", "content": "\xff\xfe"}]}'
    answer = await server.send("POST", CHAT, content=content % server.model.encode())
    return _said(answer.error(400))


@check(AREA, "RFC 9110 section 15.5.5")
async def an_unknown_path_is_not_found(server: Server) -> str:
    """A path that does not exist is a 404 with the same envelope as all errors."""
    return _said((await server.get("/no-such-path")).error(404))


@check(AREA, "RFC 9110 section 15.5.6")
async def a_wrong_method_is_refused(server: Server) -> str:
    """A method that the path does not have is a 405 with the same envelope."""
    return _said((await server.send("DELETE", CHAT)).error(405))


@check(AREA, "RFC 9110 section 15.5.14")
async def a_huge_body_is_refused(server: Server) -> str:
    """A body that is announced as far too long is a 413 with the same envelope, at once."""
    answer = await server.announce(CHAT, HUGE)
    if answer is None:
        raise Lacks("the server waits for the body before it judges its length")
    return _said(answer.error(413))


@check(AREA, "RFC 9110 section 15.5.16")
async def another_media_type_is_refused(server: Server) -> str:
    """A body that is not called JSON is a 415, or a 400, with the same envelope."""
    answer = await server.post(CHAT, asking(HELLO), headers={"content-type": "text/plain"})
    return _said(answer.error(400, 415))


async def _refused(server: Server, body: dict[str, Any], *statuses: int) -> str:
    return _said((await server.post(CHAT, body)).error(*statuses))


def _said(error: Any) -> str:
    return f"{error['code'] or error['type']}: {error['message']}"
