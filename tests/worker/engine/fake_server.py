"""A model server for tests: speaks SGLang's or vLLM's dialect, takes their flags, has no model.

Run as `worker.engine.server.child` runs the real ones. Prompts are commands: `hang` says nothing,
`die` ends the process, `lie` counts tokens too many, `say WORDS` says them, a token each.
"""

import asyncio
import json
import os
import sys
from typing import Any

from aiohttp import web

PROMPT = 7


def flag(name: str, default: str = "") -> str:
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default


IS_SGLANG = "--admin-api-key" in sys.argv
KEY = flag("--api-key") or os.environ.get("VLLM_API_KEY", "")
ADMIN = flag("--admin-api-key")
NAME = flag("--served-model-name")


class Server:
    def __init__(self) -> None:
        self.running = 0
        self.is_well = True
        self.aborted: list[str] = []

    def app(self) -> web.Application:
        app = web.Application(middlewares=[_keyed])
        root = "/v1" if IS_SGLANG else ""
        app.router.add_get("/ready" if IS_SGLANG else "/health", self.ready)
        app.router.add_get("/health_generate", self.deep)
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/v1/loads" if IS_SGLANG else "/load", self.loads)
        app.router.add_get("/told", self.told)
        app.router.add_post("/abort_request", self.abort)
        app.router.add_post(root + "/tokenize", self.tokenize)
        app.router.add_post("/v1/chat/completions", self.chat)
        return app

    async def ready(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self.is_well else 503)

    async def deep(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self.is_well else 503)

    async def models(self, _: web.Request) -> web.Response:
        owner = "sglang" if IS_SGLANG else "vllm"
        return web.json_response({"data": [{"id": NAME, "owned_by": owner}]})

    async def loads(self, _: web.Request) -> web.Response:
        if not IS_SGLANG:
            return web.json_response({"server_load": self.running})
        row = {"num_running_reqs": self.running, "num_waiting_reqs": 1, "max_running_requests": 3}
        return web.json_response({"loads": [row, {**row, "num_running_reqs": 0}]})

    async def told(self, _: web.Request) -> web.Response:
        """What only a test asks."""
        told = {"argv": sys.argv, "environ": dict(os.environ), "aborted": self.aborted}
        return web.json_response(told)

    async def abort(self, request: web.Request) -> web.Response:
        self.aborted.append((await request.json())["rid"])
        return web.Response()

    async def tokenize(self, _: web.Request) -> web.Response:
        return web.json_response({"count": PROMPT, "tokens": [1] * PROMPT})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        command, _, rest = body["messages"][-1]["content"].partition(" ")
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        self.running += 1
        try:
            await self._play(response, body, command, rest.split())
        finally:
            self.running -= 1
        return response

    async def _play(  # noqa: C901 - a script
        self, response: web.StreamResponse, body: dict[str, Any], command: str, words: list[str]
    ) -> None:
        async def send(choices: list[Any], **more: Any) -> None:
            await response.write(f"data: {json.dumps({'choices': choices, **more})}\n\n".encode())

        choices = body.get("n") or 1
        lie = 9 * (command == "lie")
        for index in range(choices):
            head = {"index": index, "delta": {"role": "assistant", "content": ""}}
            await send([head], **({} if IS_SGLANG else {"prompt_token_ids": [1] * PROMPT}))
        for count, word in enumerate(words, 1):
            for index in range(choices):
                piece: dict[str, Any] = {"index": index, "delta": {"content": word}}
                if body.get("return_token_ids"):
                    piece["token_ids"] = [count]
                await send([piece], usage=_usage(count + lie))
        if command == "die":
            os._exit(3)
        if command == "hang":
            self.is_well = "well" in words
            await asyncio.sleep(60)
        for index in range(choices):
            end: dict[str, Any] = {"index": index, "delta": {}, "finish_reason": "stop"}
            if body.get("return_token_ids"):
                end["token_ids"] = [2]
            await send([end])
        if body.get("return_output_ids_in_sglext"):
            ids = {"input_ids": [1] * PROMPT, "output_ids": [[1] * (len(words) + 1)] * choices}
            await send([], sglext=ids)
        await send([], usage=_usage(choices * (len(words) + 1) + lie))
        await response.write(b"data: [DONE]\n\n")


def _usage(completion: int) -> dict[str, int]:
    return {"prompt_tokens": PROMPT, "completion_tokens": completion}


@web.middleware
async def _keyed(request: web.Request, handler: Any) -> web.StreamResponse:
    # As the real ones: health is open, admin routes want the other key.
    key = ADMIN if request.path == "/abort_request" else KEY
    is_open = request.path.startswith(("/ready", "/health"))
    if not is_open and request.headers.get("authorization") != f"Bearer {key}":
        return web.json_response({"error": "Unauthorized"}, status=401)
    answer: web.StreamResponse = await handler(request)
    return answer


if __name__ == "__main__":
    if NAME == "broken":
        sys.stderr.write(f"Traceback:\n  deep\nRuntimeError: no accelerator, key {KEY}\n")
        sys.exit(1)
    web.run_app(
        Server().app(),
        host=flag("--host"),
        port=int(flag("--port")),
        print=None,
        shutdown_timeout=0,
    )
