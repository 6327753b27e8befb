"""What the attested transports for httpx2 and httpx share; both have the same shapes (SPEC 17.11).

Requests go to a gateway that proved itself in the handshake and to nobody else. Each answer is
labelled with it, by this side: what a gateway says of itself in these headers is taken off.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, ClassVar, Final

from bombyx.attestation.policy import Policy
from bombyx.attestation.ratls.verify import VerifiedGateway
from bombyx.client.ratls.context import gateway_context, refusal_of, verified_of
from bombyx.client.ratls.generations import Generation, Generations
from bombyx.client.refusals import local_error
from bombyx.client.routes import split_url
from bombyx.errors import GatewayRefused

GATEWAY_HEADER: Final = "x-bombyx-gateway"
"""Of an answer: the verified gateway's identity key, in hex."""
PLATFORM_HEADER: Final = "x-bombyx-gateway-platform"
EXTENSION: Final = "bombyx_gateway"
"""Of a response: its `VerifiedGateway`."""
_OURS: Final = frozenset({GATEWAY_HEADER.encode(), PLATFORM_HEADER.encode()})
_NO_TLS: Final = (
    "a gateway proves itself over TLS only: its URL must begin with https; nothing sent"
)


class _Shared:
    """What blocking and asynchronous transports have in common."""

    library: ClassVar[Any]
    stream: ClassVar[Any]

    def _refused(self, refusal: GatewayRefused, request: Any) -> Any:
        begin, emit = local_error(refusal, split_url(str(request.url))[1])
        return self.library.Response(begin.status, headers=list(begin.headers), content=emit.data)

    def _labelled(self, response: Any, verified: VerifiedGateway, stream: Any) -> Any:
        own = [pair for pair in response.headers.raw if pair[0].lower() not in _OURS]
        own.append((GATEWAY_HEADER.encode(), verified.gateway.encode()))
        own.append((PLATFORM_HEADER.encode(), verified.platform.encode()))
        extensions = {**response.extensions, EXTENSION: verified}
        return self.library.Response(
            response.status_code, headers=own, stream=stream, extensions=extensions
        )


def _check_url(request: Any) -> None:
    if request.url.scheme != "https":
        raise GatewayRefused(_NO_TLS)


def _required(response: Any, connection: str) -> VerifiedGateway:
    # Cannot fail but by a library that went around the context; then its answer is not shown.
    stream = response.extensions.get("network_stream")
    verified = verified_of(stream.get_extra_info(connection)) if stream is not None else None
    if verified is None:
        raise GatewayRefused("the answer did not come over a verified connection")
    return verified


class SyncAttested(_Shared):
    """The blocking transport of either library; `clock` gives unix seconds."""

    def __init__(self, policy: Policy, *, clock: Callable[[], int], limits: Any) -> None:
        context = gateway_context(policy, clock=clock)

        def open_pool() -> Any:
            return self.library.HTTPTransport(verify=context, trust_env=False, limits=limits)

        self._pools: Generations[Any] = Generations(open_pool, clock=clock)

    def handle_request(self, request: Any) -> Any:
        """Answer one request; a refused gateway gets nothing, its refusal is the answer."""
        try:
            return self._send(request)
        except GatewayRefused as refusal:
            return self._refused(refusal, request)

    def _send(self, request: Any) -> Any:
        _check_url(request)
        generation, idle = self._pools.take()
        _close(idle)
        response = None
        try:
            response = generation.pool.handle_request(request)
            verified = _required(response, "socket")
        except BaseException as error:
            if response is not None:
                response.close()
            _close(self._pools.give_back(generation))
            refusal = refusal_of(error)
            if refusal is None:
                raise
            raise refusal from error
        self._pools.shorten(generation, verified.expires_at)
        return self._labelled(response, verified, self.stream(response, generation, self._pools))

    def close(self) -> None:
        """Close all connections."""
        _close(self._pools.close())


class AsyncAttested(_Shared):
    """The same for event loops."""

    def __init__(self, policy: Policy, *, clock: Callable[[], int], limits: Any) -> None:
        context = gateway_context(policy, clock=clock)

        def open_pool() -> Any:
            return self.library.AsyncHTTPTransport(verify=context, trust_env=False, limits=limits)

        self._pools: Generations[Any] = Generations(open_pool, clock=clock)

    async def handle_async_request(self, request: Any) -> Any:
        """Answer one request; a refused gateway gets nothing, its refusal is the answer."""
        try:
            return await self._send(request)
        except GatewayRefused as refusal:
            return self._refused(refusal, request)

    async def _send(self, request: Any) -> Any:
        _check_url(request)
        generation, idle = self._pools.take()
        await _aclose(idle)
        response = None
        try:
            response = await generation.pool.handle_async_request(request)
            verified = _required(response, "ssl_object")
        except BaseException as error:
            if response is not None:
                await response.aclose()
            await _aclose(self._pools.give_back(generation))
            refusal = refusal_of(error)
            if refusal is None:
                raise
            raise refusal from error
        self._pools.shorten(generation, verified.expires_at)
        return self._labelled(response, verified, self.stream(response, generation, self._pools))

    async def aclose(self) -> None:
        """Close all connections."""
        await _aclose(self._pools.close())


class SyncAttestedBody:
    """The body of an answer; its end gives its pool back."""

    def __init__(self, response: Any, generation: Generation[Any], pools: Generations[Any]) -> None:
        self._response = response
        self._generation: Generation[Any] | None = generation
        self._pools = pools

    def __iter__(self) -> Iterator[bytes]:
        """The bytes as they come."""
        yield from self._response.stream

    def close(self) -> None:
        """Close the answer, wherever it stands."""
        generation, self._generation = self._generation, None
        if generation is not None:
            try:
                self._response.close()
            finally:
                _close(self._pools.give_back(generation))


class AsyncAttestedBody:
    """The same for event loops."""

    def __init__(self, response: Any, generation: Generation[Any], pools: Generations[Any]) -> None:
        self._response = response
        self._generation: Generation[Any] | None = generation
        self._pools = pools

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The bytes as they come."""
        async with contextlib.aclosing(aiter(self._response.stream)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def aclose(self) -> None:
        """Close the answer, wherever it stands."""
        generation, self._generation = self._generation, None
        if generation is not None:
            try:
                await self._response.aclose()
            finally:
                await _aclose(self._pools.give_back(generation))


def _close(pools: list[Any]) -> None:
    for pool in pools:
        pool.close()


async def _aclose(pools: list[Any]) -> None:
    for pool in pools:
        await pool.aclose()
