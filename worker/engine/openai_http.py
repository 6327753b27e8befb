"""Any OpenAI-compatible server on loopback: SGLang, vLLM, llama.cpp (SPEC 2.6, 4.7, 12).

Always asks for a stream, so that counts are known when a request is cut; closing the connection
is what stops the server, and SGLang is told by name too. Follows no redirect, uses no proxy, and
speaks to loopback only unless the owner says otherwise: prompts are in the clear here.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from bombyx.chat.body import Body, encode_body
from bombyx.chat.embeddings import texts
from bombyx.chat.paths import (
    CHAT_PATH,
    COMPLETIONS_PATH,
    COUNT_TOKENS_PATH,
    EMBEDDINGS_PATH,
    SILENT_PATHS,
)
from bombyx.chat.size import count_images
from bombyx.chat.sse import DONE_DATA, SseDecoder
from bombyx.errors import (
    BadStream,
    BombyxError,
    EngineFailed,
    EngineTimeout,
    ModelNotFound,
    NotFound,
    RequestError,
    SetupError,
)
from worker.engine import silent
from worker.engine.discover import flavour_of, models_of
from worker.engine.flavour import Flavour, outgoing, template_body
from worker.engine.load import told_load
from worker.engine.port import EngineEvent, EngineModel, EngineRequest, Load
from worker.engine.pump import events
from worker.engine.refusals import engine_error, error_in, is_absent

MAX_ANSWER_BYTES = 32 * 2**20
"""Non-stream answers read whole: templates, token lists, errors."""
CONNECT_SECONDS = 5.0
_NOTHING = b"null"
"""llama.cpp begins so where a completion has several prompts."""


@dataclass(frozen=True, slots=True)
class OpenAIServer:
    """Where a server is and how to speak to it.

    Without `models` those that the server lists are served, with `names` mapping served ids to the
    server's own. A plain `flavour` becomes the one that the server shows itself to be.
    `allow_remote` lets the URL leave loopback and is for servers inside the same trusted machine.
    """

    url: str
    models: tuple[EngineModel, ...] = ()
    flavour: Flavour = Flavour.OPENAI
    api_key: str = field(default="", repr=False)
    names: tuple[tuple[str, str], ...] = ()
    slots: int = 64
    allow_remote: bool = False
    first_token_seconds: float = 120.0
    idle_seconds: float = 60.0
    admin_key: str = field(default="", repr=False)
    """Of a server of our own: lets requests be aborted by name."""
    has_ids: bool = False
    """Every answer must show its token ids: our own server was told to."""


class OpenAIEngine:
    """An `Engine` over HTTP; `start` makes the session, each request has its own connection."""

    def __init__(self, server: OpenAIServer) -> None:
        check_url(server.url, allow_remote=server.allow_remote)
        self._server = server
        self._flavour = server.flavour
        self._models = list(server.models)
        self._names = dict(server.names)
        self._session: aiohttp.ClientSession | None = None
        self._running = 0
        self._can_count = True
        self._aborts: set[asyncio.Task[None]] = set()
        self.suspect = asyncio.Event()
        """Set when the server was silent for too long; whoever owns it may look and clear it."""

    def open(self) -> None:
        """Open the session; nothing is asked yet."""
        headers = {"content-type": "application/json"}
        if self._server.api_key:
            headers["authorization"] = f"Bearer {self._server.api_key}"
        self._session = aiohttp.ClientSession(
            headers=headers,
            # A kept connection may be closed by the server just as a request goes out, and a POST
            # cannot be repeated; on loopback a new one costs next to nothing.
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def start(self) -> None:
        """Open the session and ask the server for its models; raises `EngineFailed`."""
        if self._session is None:
            self.open()
        try:
            self._learn(await self._ask("GET", "/v1/models"))
            if self._flavour is Flavour.SGLANG:
                self._can_count = await self._counts()
        except BaseException:
            await self.close()
            raise

    def _learn(self, listing: Any) -> None:
        if self._flavour is Flavour.OPENAI:
            # Not for comfort: without the right name for the salt, payers share a prefix cache.
            self._flavour = flavour_of(listing)
        if not self._models:
            found = models_of(listing)
            self._models = list(found)
            self._names |= {model.id: own for model, own in found.items()}

    async def _counts(self) -> bool:
        """Whether this release counts chats; older ones refuse every such question."""
        (model, *_) = [*self._models, None]
        if model is None:
            return False
        hello = {"model": model.id, "messages": [{"role": "user", "content": "hi"}]}
        with contextlib.suppress(NotFound, RequestError):
            return await self.count_prompt(CHAT_PATH, hello) is not None
        return False

    async def answers(self, path: str, seconds: float) -> bool:
        """Whether a GET of `path` is answered 200 within so long."""
        try:
            async with asyncio.timeout(seconds), self._open("GET", path):
                return True
        except (BombyxError, TimeoutError):
            return False

    async def close(self) -> None:
        """Drop the session and every running request with it."""
        for task in list(self._aborts):
            task.cancel()
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    def models(self) -> list[EngineModel]:
        """What was configured, else what the server listed when it was started."""
        return list(self._models)

    async def count_prompt(self, path: str, body: Body) -> int | None:
        """By the server's own template and tokenizer; None for images and servers without."""
        flavour = self._flavour
        if not self._can_count:
            return None
        if path in (COMPLETIONS_PATH, EMBEDDINGS_PATH):
            prompts = texts(body.get("prompt", body.get("input")))
            return await silent.count(
                self._post, prompts, flavour, model=self._own_name(body["model"])
            )
        if path != CHAT_PATH or count_images(body):
            return None
        if flavour is Flavour.LLAMACPP:
            rendered = _get(
                await self._ask("POST", "/apply-template", template_body(body)), "prompt"
            )
            wanted = {"content": rendered, "add_special": True, "parse_special": True}
            tokens = _get(await self._ask("POST", "/tokenize", wanted), "tokens")
            return len(tokens) if isinstance(tokens, list) else None
        if flavour in (Flavour.VLLM, Flavour.SGLANG):
            asked = {**template_body(body), "model": self._own_name(body["model"])}
            told = await self._ask("POST", silent.ROOTS[flavour] + "/tokenize", asked)
            count = _get(told, "count")
            return count if type(count) is int else None
        return None

    async def run(self, request: EngineRequest) -> AsyncGenerator[EngineEvent, None]:
        """One request; closing the generator closes the connection."""
        if request.path in SILENT_PATHS:
            yield await self._silent(request)
            return
        raw = self._raw(request)
        is_over = False
        self._running += 1
        try:
            async with (
                aclosing(raw),
                aclosing(
                    events(raw, request, self._flavour, has_ids=self._server.has_ids)
                ) as clean,
            ):
                async for event in clean:
                    yield event
            is_over = True
        except EngineTimeout:
            self.suspect.set()
            raise
        except RequestError:
            is_over = True
            raise
        finally:
            self._running -= 1
            if not is_over:
                self._tell_abort(request)

    def _tell_abort(self, request: EngineRequest) -> None:
        """Beside the closed connection, which some release may notice late (SPEC 6.4)."""
        if self._flavour is Flavour.SGLANG and self._server.admin_key:
            task = asyncio.create_task(self._abort(request.request_id))
            self._aborts.add(task)
            task.add_done_callback(self._aborts.discard)

    async def _abort(self, request_id: str) -> None:
        with contextlib.suppress(BombyxError):
            await self._ask("POST", "/abort_request", {"rid": request_id}, is_admin=True)

    async def load(self) -> Load:
        """The server's own word where it gives one; else what runs through this driver."""
        return await told_load(
            self._get, self._flavour, own=self._running, slots=self._server.slots
        )

    async def _get(self, path: str) -> Any:
        return await self._ask("GET", path)

    async def _silent(self, request: EngineRequest) -> EngineEvent:
        name = request.body["model"]
        own = self._own_name(name)
        context = next(known.context for known in self._models if known.id == name)
        self._running += 1
        try:
            if request.path == COUNT_TOKENS_PATH:
                tokens = await self.count_prompt(CHAT_PATH, request.body)
                return silent.counted(request.body, tokens)
            return await silent.answer(
                self._post, request, self._flavour, model=own, context=context
            )
        finally:
            self._running -= 1

    async def _post(self, path: str, body: Body) -> Any:
        return await self._ask("POST", path, body)

    def _own_name(self, model: str) -> str:
        if all(model != known.id for known in self._models):
            raise ModelNotFound("this engine does not serve the model", param="model")
        return self._names.get(model, model)

    async def _raw(self, request: EngineRequest) -> AsyncGenerator[dict[str, Any], None]:
        """Parsed chunks until the end of the stream; the first is awaited before any is given."""
        own = self._own_name(request.body["model"])
        body = outgoing(request, self._flavour, model=own)
        async with self._open("POST", request.path, body) as response:
            decoder = SseDecoder()
            parts = response.content.iter_any()
            seconds = self._server.first_token_seconds
            async for part in _timed(parts, seconds, self._server.idle_seconds):
                for event in _decode(decoder, part):
                    if event == DONE_DATA:
                        return
                    if event != _NOTHING:
                        yield _parse_chunk(event)
            raise EngineFailed("the engine closed its stream before the end")

    async def _ask(
        self, method: str, path: str, body: Any = None, *, is_admin: bool = False
    ) -> Any:
        async with self._open(method, path, body, is_admin=is_admin) as response:
            try:
                async with asyncio.timeout(self._server.idle_seconds):
                    return _parse(await _read(response))
            except TimeoutError:
                raise EngineTimeout("the engine did not answer in time") from None

    @asynccontextmanager
    async def _open(
        self, method: str, path: str, body: Any = None, *, is_admin: bool = False
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A 200 answer; raises what others mean, and `EngineFailed` when the server is gone."""
        try:
            response = await self._send(method, path, body, is_admin=is_admin)
            try:
                if response.status != 200:  # noqa: PLR2004 (HTTP's)
                    raise _refusal(path, response.status, _parse(await _read(response)))
                yield response
            finally:
                # Not `release`: a connection closed early is what tells the server to stop.
                response.close()
        except (aiohttp.ClientError, ConnectionError) as error:
            # The name is enough: messages can name hosts and headers.
            raise EngineFailed(f"the engine's connection failed ({type(error).__name__})") from None

    async def _send(
        self, method: str, path: str, body: Any, *, is_admin: bool
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            raise EngineFailed("the engine is not running")
        url = self._server.url.rstrip("/") + path
        data = None if body is None else encode_body(body)
        headers = {"authorization": f"Bearer {self._server.admin_key}"} if is_admin else None
        try:
            async with asyncio.timeout(self._server.first_token_seconds):
                return await self._session.request(
                    method, url, data=data, headers=headers, allow_redirects=False
                )
        except TimeoutError:
            raise EngineTimeout("the engine did not answer in time") from None


def _refusal(path: str, status: int, body: Any) -> BombyxError:
    """A path that a server lacks is no fault of its own, unless it is the one all have."""
    if path != CHAT_PATH and is_absent(status, body):
        return silent.not_served()
    return engine_error(status, body)


def check_url(url: str, *, allow_remote: bool) -> None:
    """Only plain HTTP to a loopback address, unless the owner allows more; raises `SetupError`."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
        raise SetupError("the engine's URL is http://HOST:PORT")
    if parts.query or parts.fragment:
        raise SetupError("the engine's URL has no query")
    if not allow_remote and not _is_loopback(parts.hostname):
        raise SetupError("the engine's URL must be on loopback: prompts travel there in the clear")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


async def _timed(
    parts: AsyncIterator[bytes], first_seconds: float, idle_seconds: float
) -> AsyncIterator[bytes]:
    seconds = first_seconds
    while True:
        try:
            async with asyncio.timeout(seconds):
                part = await anext(parts)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise EngineTimeout("the engine gave no token in time") from None
        yield part
        seconds = idle_seconds


def _decode(decoder: SseDecoder, part: bytes) -> list[bytes]:
    try:
        return [event.data for event in decoder.feed(part)]
    except BadStream:
        raise EngineFailed("the engine's stream holds an event beyond the limit") from None


def _parse_chunk(data: bytes) -> dict[str, Any]:
    chunk = _parse(data)
    if not isinstance(chunk, dict):
        raise EngineFailed("the engine sent an event that is no JSON object")
    error = error_in(chunk)
    if error is not None:
        raise error
    return chunk


def _parse(data: bytes) -> Any:
    """JSON, None where it is none."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return None


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The body up to `MAX_ANSWER_BYTES`, where the rest is cut and fails to parse."""
    held = bytearray()
    async for part in response.content.iter_any():
        held += part
        if len(held) > MAX_ANSWER_BYTES:
            break
    return bytes(held)
