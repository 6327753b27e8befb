"""Attested transports (SPEC 17.11): both libraries, both kinds, against real TLS servers."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import httpx2
import pytest

from bombyx.attestation.ratls.verify import VerifiedGateway
from bombyx.client.ratls import transport_httpx, transport_httpx2
from bombyx.client.ratls.generations import POOL_SECONDS
from bombyx.client.ratls.transports import EXTENSION, GATEWAY_HEADER, PLATFORM_HEADER
from tests.bombyx.attestation import world
from tests.bombyx.attestation.ratls.minting import GATEWAY, HONEST, NOW, POLICY
from tests.bombyx.client.ratls.serving import Served, context_of, serving

LIBRARIES = [(httpx, transport_httpx), (httpx2, transport_httpx2)]
both = pytest.mark.parametrize(("library", "transports"), LIBRARIES, ids=["httpx", "httpx2"])
MISMATCHED = replace(HONEST, image=world.IMAGE)


class Caller:
    """A blocking or asynchronous client behind one face; `now` turns its clock."""

    def __init__(self, library: Any, transports: Any, *, is_async: bool) -> None:
        self.now = NOW
        options = {"clock": lambda: self.now, "limits": library.Limits()}
        self._runner = asyncio.Runner() if is_async else None
        if is_async:
            transport = transports.AsyncAttestedTransport(POLICY, **options)
            self._client = library.AsyncClient(transport=transport)
        else:
            transport = transports.AttestedTransport(POLICY, **options)
            self._client = library.Client(transport=transport)

    def post(self, url: str) -> Any:
        call = self._client.post(url, content=b"secret")
        return self._runner.run(call) if self._runner else call

    def close(self) -> None:
        if self._runner:
            self._runner.run(self._client.aclose())
            self._runner.close()
        else:
            self._client.close()


@pytest.fixture(params=[False, True], ids=["blocking", "async"])
def is_async(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def honest() -> Iterator[Served]:
    with serving(context_of()) as served:
        yield served


@pytest.mark.spec("17.11-h")
@both
def test_an_answer_is_labelled_with_the_verified_gateway_and_not_by_it(
    library: Any, transports: Any, honest: Served, *, is_async: bool
) -> None:
    caller = Caller(library, transports, is_async=is_async)
    answer = caller.post(honest.url)
    assert answer.json() == {}
    assert answer.headers.get_list(GATEWAY_HEADER) == [GATEWAY]
    assert answer.headers.get_list(PLATFORM_HEADER) == ["simulated"]
    assert isinstance(answer.extensions[EXTENSION], VerifiedGateway)
    caller.close()


@pytest.mark.spec("17.11-f")
@both
def test_a_refused_gateway_is_told_nothing_and_its_refusal_is_the_answer(
    library: Any, transports: Any, *, is_async: bool
) -> None:
    caller = Caller(library, transports, is_async=is_async)
    with serving(context_of(MISMATCHED)) as served:
        answer = caller.post(served.url)
        assert served.received == []
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "gateway_refused"
    assert answer.headers["x-should-retry"] == "false"
    assert GATEWAY_HEADER not in answer.headers
    caller.close()


@pytest.mark.spec("17.11-f")
@both
def test_nothing_goes_to_a_url_without_tls(
    library: Any, transports: Any, honest: Served, *, is_async: bool
) -> None:
    caller = Caller(library, transports, is_async=is_async)
    answer = caller.post(honest.url.replace("https", "http"))
    assert (answer.status_code, honest.connections) == (502, 0)
    caller.close()


@both
def test_a_gateway_that_is_not_there_is_the_librarys_own_error(
    library: Any, transports: Any, *, is_async: bool
) -> None:
    with serving(context_of()) as served:
        gone = served.url
    caller = Caller(library, transports, is_async=is_async)
    with pytest.raises(library.ConnectError):
        caller.post(gone)
    caller.close()


@pytest.mark.spec("17.11-g")
@both
def test_connections_are_kept_for_minutes_and_verified_anew_after(
    library: Any, transports: Any, honest: Served, *, is_async: bool
) -> None:
    caller = Caller(library, transports, is_async=is_async)
    caller.post(honest.url)
    caller.post(honest.url)
    assert honest.connections == 1
    caller.now += POOL_SECONDS
    assert caller.post(honest.url).status_code == 200
    assert honest.connections == 2
    caller.now = NOW + 3600  # beyond the certificate: the server shows the same one again
    assert caller.post(honest.url).json()["error"]["code"] == "gateway_refused"
    caller.close()
