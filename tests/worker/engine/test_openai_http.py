import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Self

import pytest
import pytest_asyncio
from aiohttp import web

from bombyx.errors import (
    BombyxError,
    ContextLengthExceeded,
    EngineFailed,
    EngineTimeout,
    Overloaded,
    RequestError,
    SetupError,
)
from bombyx.money.cost import Tokens
from tests.worker.engine.contract import EngineContract, Subject, collect, request_of
from tests.worker.engine.test_llamacpp import GGUF, SETTINGS, SUBJECT
from tests.worker.engine.text_contract import TextContract
from worker.engine.flavour import Flavour
from worker.engine.llamacpp import LlamaCppEngine
from worker.engine.openai_http import OpenAIEngine, OpenAIServer
from worker.engine.port import Answer, Chunk, Engine

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
TOY = Subject(model="toy", short="hello", long="hello", stop="x")


@pytest.fixture
def subject() -> Subject:
    return SUBJECT


@pytest_asyncio.fixture(scope="class", loop_scope="class")
async def engine() -> AsyncIterator[Engine]:
    owner = LlamaCppEngine(SETTINGS)
    await owner.start()
    inside = owner._server()._server
    made = OpenAIEngine(
        OpenAIServer(
            url=inside.url,
            api_key=inside.api_key,
            models=tuple(owner.models()),
            names=((SUBJECT.model, str(GGUF)),),
        )
    )
    await made.start()
    yield made
    await made.close()
    await owner.close()


@pytest.mark.asyncio(loop_scope="class")
class TestOpenAIHttp(EngineContract, TextContract):
    async def test_the_kind_of_server_is_seen(self, engine: Engine) -> None:
        assert isinstance(engine, OpenAIEngine)
        assert engine._flavour is Flavour.LLAMACPP


class Server:
    """A server on loopback that plays one handler for chats and notes what it was sent."""

    def __init__(self, handler: Handler, owner: str = "sglang") -> None:
        self._handler, self._owner = handler, owner
        self.bodies: list[dict[str, Any]] = []
        self.gone = asyncio.Event()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/v1/models", self._list)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/tokenize", self._chat)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _list(self, _: web.Request) -> web.Response:
        model = {"id": "toy", "owned_by": self._owner, "max_model_len": 9000}
        return web.json_response({"data": [model]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.json())
        try:
            return await self._handler(request)
        except (asyncio.CancelledError, ConnectionResetError):
            self.gone.set()
            raise


def answering(*events: object, hang: bool = False) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for event in events:
            data = event if isinstance(event, str) else json.dumps(event)
            await response.write(f"data: {data}\n\n".encode())
        if hang:
            await asyncio.sleep(30)
        return response

    return handle


def failing(status: int, body: object) -> Handler:
    async def handle(_: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status)

    return handle


def piece(text: str | None = None, *, reason: str | None = None, **more: Any) -> dict[str, Any]:
    delta = {"reasoning_content": None} | ({} if text is None else {"content": text})
    choice = {"index": 0, "delta": delta, "finish_reason": reason, "matched_stop": 2}
    return {"id": "f00", "model": "/path", "created": 5, "choices": [choice]} | more


def usage(prompt: int, completion: int) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "reasoning_tokens": 0}


async def run(server: Server, *, stream: bool = True, **settings: Any) -> list[Any]:
    engine = OpenAIEngine(OpenAIServer(url=server.url, **settings))
    await engine.start()
    try:
        return await collect(engine, request_of(TOY, "secret prompt", stream=stream))
    finally:
        await engine.close()


SGLANG = (
    piece(""),
    piece("Hel", usage=usage(7, 1), metadata={"weight_version": "1"}),
    piece("lo", usage=usage(7, 2)),
    piece(reason="stop"),
    piece(reason="stop"),
    {"choices": [], "sglext": {"input_ids": [1] * 7, "output_ids": [[5, 6, 2]]}},
    {"choices": [], "usage": usage(7, 3)},
    "[DONE]",
)


async def test_an_sglang_stream_comes_out_clean_with_its_last_counts() -> None:
    async with Server(answering(*SGLANG)) as server:
        events = await run(server)
    text = json.dumps([event.payload for event in events])
    for private in ("matched_stop", "sglext", "metadata", "reasoning_content", "f00", "/path"):
        assert private not in text
    finished = [one for one in events if one.payload["choices"][0]["finish_reason"]]
    assert [type(event) for event in events] == [Chunk] * 4
    assert finished == events[-1:]
    assert events[1].tokens == Tokens(prompt=7, completion=1)
    assert events[-1].tokens == Tokens(prompt=7, completion=3)


async def test_a_whole_answer_is_run_as_a_stream_with_salt_and_id() -> None:
    async with Server(answering(*SGLANG)) as server:
        events = await run(server, stream=False)
    assert isinstance(events[-1], Answer)
    assert events[-1].payload["choices"][0]["message"]["content"] == "Hello"
    (sent,) = server.bodies
    assert sent["stream"] is True
    assert sent["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    assert (len(sent["rid"]), sent["cache_salt"]) == (32, "ab" * 32)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"object": "error", "message": "secret prompt", "code": 400}, RequestError),
        (400, {"object": "error", "message": "context length"}, ContextLengthExceeded),
        (400, {"error": {"type": "exceed_context_size_error"}}, ContextLengthExceeded),
        (401, {"error": "Unauthorized"}, EngineFailed),
        (404, {"detail": "Not Found"}, EngineFailed),
        (404, {"error": {"code": "model_not_found", "message": "secret prompt"}}, EngineFailed),
        (503, {"object": "error", "type": "503", "code": 503}, Overloaded),
        (500, "secret prompt", EngineFailed),
        (504, None, EngineTimeout),
        (302, None, EngineFailed),
    ],
)
async def test_each_shape_of_error_becomes_ours_without_an_echo(
    status: int, body: object, kind: type[BombyxError]
) -> None:
    async with Server(failing(status, body)) as server:
        with pytest.raises(kind) as caught:
            await run(server)
    assert type(caught.value) is kind
    assert "secret" not in str(caught.value)


async def test_an_error_as_first_event_of_a_200_is_an_error_before_any_event() -> None:
    error = {"error": {"object": "error", "message": "secret", "code": 503}}
    async with Server(answering(error, "[DONE]")) as server:
        with pytest.raises(Overloaded):
            await run(server)


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([piece("a")], id="closed without DONE"),
        pytest.param([piece("a"), "[DONE]"], id="no finish reason"),
        pytest.param([piece("a"), piece(reason="abort"), "[DONE]"], id="abort"),
        pytest.param([piece("a"), "not json"], id="not json"),
        pytest.param([piece("a"), {"no": "choices"}], id="no choices"),
        pytest.param([piece("a"), {"choices": [{"index": 9}]}], id="foreign choice"),
        pytest.param([piece("a"), {"choices": ["odd"]}], id="odd choice"),
        pytest.param([piece("a"), {"error": "text"}], id="error in mid-stream"),
    ],
)
async def test_a_stream_that_is_not_whole_fails(events: list[object]) -> None:
    async with Server(answering(*events)) as server:
        with pytest.raises(EngineFailed):
            await run(server)


async def test_an_event_beyond_the_limit_fails() -> None:
    async with Server(answering("x" * (9 * 2**20))) as server:
        with pytest.raises(EngineFailed, match="limit"):
            await run(server)


async def test_a_silent_engine_times_out_before_and_after_the_first_token() -> None:
    async with Server(answering(hang=True)) as server:
        with pytest.raises(EngineTimeout):
            await run(server, first_token_seconds=0.05)
    async with Server(answering(piece("a"), hang=True)) as server:
        with pytest.raises(EngineTimeout):
            await run(server, idle_seconds=0.05)


async def test_the_server_sees_the_connection_close_when_the_run_is_closed() -> None:
    async with Server(answering(piece("a"), hang=True)) as server:
        engine = OpenAIEngine(OpenAIServer(url=server.url))
        await engine.start()
        events = engine.run(request_of(TOY, "hi"))
        await anext(events)
        await events.aclose()
        async with asyncio.timeout(1):
            await server.gone.wait()
        await engine.close()


async def test_a_server_that_says_nothing_of_usage_is_counted_by_its_chunks() -> None:
    chunks = (piece("a"), piece("b"), piece(reason="stop"), "[DONE]")
    async with Server(answering(*chunks), owner="someone") as server:
        events = await run(server)
        assert "cache_salt" not in server.bodies[0]
    assert events[-1].tokens == Tokens(completion=2)


async def test_vllm_counts_prompts_by_its_own_template() -> None:
    async with Server(failing(200, {"count": 11}), owner="vllm") as server:
        engine = OpenAIEngine(OpenAIServer(url=server.url))
        await engine.start()
        body = {"model": "toy", "messages": [{"role": "user", "content": "hi"}], "seed": 1}
        assert await engine.count_prompt("/v1/chat/completions", body) == 11
        await engine.close()
    assert server.bodies == [{"model": "toy", "messages": body["messages"]}]


async def test_a_prompt_with_an_image_is_not_counted_ahead() -> None:
    async with Server(failing(200, {}), owner="vllm") as server:
        engine = OpenAIEngine(OpenAIServer(url=server.url))
        await engine.start()
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
        body = {"model": "toy", "messages": [{"role": "user", "content": [image]}]}
        assert await engine.count_prompt("/v1/chat/completions", body) is None
        await engine.close()


async def test_models_are_taken_from_the_server_when_none_are_named() -> None:
    async with Server(answering()) as server:
        engine = OpenAIEngine(OpenAIServer(url=server.url))
        await engine.start()
        (model,) = engine.models()
        assert (model.id, model.context) == ("toy", 9000)
        assert (await engine.load()).running == 0
        await engine.close()


async def test_a_server_that_is_not_there_fails_the_start() -> None:
    engine = OpenAIEngine(OpenAIServer(url="http://127.0.0.1:9"))
    with pytest.raises(EngineFailed):
        await engine.start()
    with pytest.raises(BombyxError):
        await collect(engine, request_of(TOY, "hi"))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "http://192.168.1.1:80",
        "http://169.254.169.254",
        "ftp://127.0.0.1",
        "http://user@127.0.0.1",
        "http://127.0.0.1/?a=b",
        "http://127.0.0.1.example.com",
        "127.0.0.1:80",
    ],
)
def test_only_loopback_is_spoken_to(url: str) -> None:
    with pytest.raises(SetupError):
        OpenAIEngine(OpenAIServer(url=url))


@pytest.mark.parametrize("url", ["http://localhost:1", "http://[::1]:1", "http://127.8.8.8:1"])
def test_every_name_of_loopback_will_do(url: str) -> None:
    OpenAIEngine(OpenAIServer(url=url))


def test_the_owner_may_allow_another_host_and_keys_stay_out_of_reprs() -> None:
    server = OpenAIServer(url="http://engine:80", allow_remote=True, api_key="hidden")
    OpenAIEngine(server)
    assert "hidden" not in repr(server)
