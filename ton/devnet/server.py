"""The devnet's HTTP: `/api/v2`, `/api/v3` as at toncenter, and `/devnet` for what only it can do.

One thread owns chain, log and TVM, so requests happen one after another, each whole; the event loop
stays free. Errors have the shape of the API that was asked.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from aiohttp import web

from ton.devnet import own, v2, v3
from ton.devnet.arguments import Arguments
from ton.devnet.chain import Devnet
from ton.devnet.errors import BadArgument, NoSuchThing, Refusal
from ton.errors import MalformedCell

MAX_BODY: Final = 2 << 20
"""Bytes: a bag of cells of the largest size that is read, in base64."""
Result = TypeVar("Result")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_METHOD: Final = "/{method:[A-Za-z]{1,60}}"


class Turns:
    """The one thread that everything of the chain happens on."""

    def __init__(self, devnet: Devnet) -> None:
        self._devnet = devnet
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="devnet")

    async def take(
        self, method: Callable[[Devnet, Arguments], Result], arguments: Arguments
    ) -> Result:
        """Run one method of the API when it is its turn."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, method, self._devnet, arguments)

    def close(self) -> None:
        """Finish what runs."""
        self._thread.shutdown()


def application(devnet: Devnet) -> web.Application:
    """The whole application. Whoever made the devnet closes it, after this one's cleanup."""
    turns = Turns(devnet)
    app = web.Application(client_max_size=MAX_BODY, middlewares=[_shaped])
    for path, gets, posts in (("/api/v3", v3.GETS, v3.POSTS), ("/devnet", own.GETS, own.POSTS)):
        app.router.add_get(path + _METHOD, _rest(turns, gets))
        app.router.add_post(path + _METHOD, _rest(turns, posts))
    app.router.add_post("/api/v2/jsonRPC", _json_rpc(turns))
    app.router.add_get("/api/v2" + _METHOD, _v2(turns))
    app.router.add_post("/api/v2" + _METHOD, _v2(turns))

    async def close(_: web.Application) -> None:
        await asyncio.to_thread(turns.close)

    app.on_cleanup.append(close)
    return app


def _rest(turns: Turns, methods: dict[str, Callable[[Devnet, Arguments], Any]]) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        method = methods.get(request.match_info["method"])
        if method is None:
            raise NoSuchThing(f"there is no {request.method} {request.path[:80]}")
        return web.json_response(await turns.take(method, await _arguments(request)))

    return handle


def _v2(turns: Turns) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        name, arguments = request.match_info["method"], await _arguments(request)
        result = await turns.take(lambda devnet, given: v2.call(devnet, name, given), arguments)
        return web.json_response({"ok": True, "result": result})

    return handle


def _json_rpc(turns: Turns) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        body = await _body(request)
        name, params = body.get("method"), body.get("params") or {}
        if not isinstance(name, str) or not isinstance(params, dict):
            raise BadArgument("a call is {method: string, params: object, id, jsonrpc}")
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": body.get("id")}
        try:
            result = await turns.take(
                lambda devnet, given: v2.call(devnet, name, given), Arguments(params)
            )
        except Refusal as refusal:
            error = {"ok": False, "error": refusal.message, "code": refusal.status}
            return web.json_response({**error, **answer}, status=refusal.status)
        return web.json_response({"ok": True, "result": result, **answer})

    return handle


async def _arguments(request: web.Request) -> Arguments:
    values: dict[str, Any] = {}
    for name, value in request.query.items():
        values.setdefault(name, []).append(value)
    if request.method == "POST":
        values.update(await _body(request))
    return Arguments(values)


async def _body(request: web.Request) -> dict[str, Any]:
    data = await request.read()
    try:
        body = json.loads(data) if data else {}
    except (ValueError, RecursionError):
        raise BadArgument("the body is no JSON") from None
    if not isinstance(body, dict):
        raise BadArgument("the body must be a JSON object")
    return body


@web.middleware
async def _shaped(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every refusal in the shape of its API, also those of the HTTP library."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return _refused(request, refusal.message, refusal.status)
    except MalformedCell as error:
        return _refused(request, error.message, BadArgument.status)
    except web.HTTPException as error:
        return _refused(request, error.reason, error.status)
    except Exception as error:  # the boundary: a client gets an answer
        request.app.logger.exception("a request failed")
        return _refused(request, f"the devnet failed: {type(error).__name__}", 500)


def _refused(request: web.Request, message: str, status: int) -> web.Response:
    if request.path.startswith("/api/v2"):
        shown: dict[str, Any] = {"ok": False, "error": message, "code": status}
    else:
        shown = {"error": message, "code": status}
    return web.json_response(shown, status=status)
