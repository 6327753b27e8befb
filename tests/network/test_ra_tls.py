"""A gateway that proves itself in the handshake, its clients and its workers (SPEC 17.11)."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
import uvicorn

import bombyx
from bombyx.attestation.gateway_rules import GatewayRules
from bombyx.attestation.policy import Policy, SimulatedRules, render_policy
from bombyx.client.effects import NeverSent, Send
from bombyx.client.ratls.connector_aiohttp import AttestedConnector
from bombyx.client.ratls.context import refusal_of, verified_of
from bombyx.client.ratls.transports import GATEWAY_HEADER, PLATFORM_HEADER
from bombyx.client.upstream_aiohttp import AiohttpUpstream, open_pool
from bombyx.errors import GatewayRefused
from gateway.app import Front
from gateway.context import unix_seconds
from gateway.ratls.keeper import CertificateKeeper
from gateway.ratls.quoter import gateway_image
from gateway.serve import bind, uvicorn_config
from tests.network.harness import MODEL, Network, network
from worker.attest.simulated import SimulatedQuoter
from worker.attest.simulated_root import root_sha256

ASKED: list[Any] = [{"role": "user", "content": "hello"}]


@dataclasses.dataclass(slots=True)
class Attested:
    """A network's gateway behind TLS, and the policy that allows its image."""

    net: Network
    keeper: CertificateKeeper
    policy: Policy
    origin: str

    @property
    def base_url(self) -> str:
        return f"{self.origin}/v1"

    def sdk(self, http: object) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(
            base_url=self.base_url,
            api_key=self.net.api_key,
            http_client=http,  # type: ignore[arg-type]
            max_retries=2,
        )


@contextlib.asynccontextmanager
async def attested(folder: Path) -> AsyncIterator[Attested]:
    """The same gateway on a second socket, with evidence, and a worker that wants to see it."""
    sock = bind("127.0.0.1", 0)
    place = f"127.0.0.1:{sock.getsockname()[1]}"
    link_url = f"wss://{place}/v1/workers/link/0"
    async with network(folder, workers=0, link_url=link_url) as net:
        quoter = SimulatedQuoter(net.root, image=gateway_image(), clock=unix_seconds)
        keeper = CertificateKeeper(
            quoter, net.context.gateway, clock=unix_seconds, life_seconds=3600
        )
        await keeper.renew()
        config = uvicorn_config(Front(net.context), grace_seconds=1, tls=keeper.context)
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[sock]))
        while not server.started:
            if task.done():
                task.result()
            await asyncio.sleep(0.005)
        rules = GatewayRules(
            platforms=("simulated",),
            simulated=SimulatedRules(
                roots=(root_sha256(net.root),),
                mr_td=(gateway_image().hex(),),
                accepted_tcb=("UpToDate",),
            ),
        )
        policy = dataclasses.replace(net.policy, gateway=rules, gateways=(net.context.gateway,))
        origin = f"https://{place}"
        policy_file = folder / "policy.toml"
        await asyncio.to_thread(policy_file.write_text, render_policy(policy))
        await net.add_worker(gateway=(origin,), gateway_policy=policy_file)
        try:
            yield Attested(net, keeper, policy, origin)
        finally:
            for running in net.workers:
                await running.stop()
            net.workers.clear()
            server.should_exit = True
            await task
            sock.close()


@pytest.mark.spec("17.11-h")
async def test_a_bare_request_goes_to_the_verified_gateway_and_its_answer_says_which(
    tmp_path: Path,
) -> None:
    async with (
        attested(tmp_path) as it,
        bombyx.async_bare_http_client(policy=it.policy) as http,
    ):
        raw = await it.sdk(http).chat.completions.with_raw_response.create(
            model=MODEL, messages=ASKED
        )
        assert raw.headers["x-bombyx-tier"] == "bare"
        assert raw.headers[GATEWAY_HEADER] == it.net.context.gateway
        assert raw.headers[PLATFORM_HEADER] == "simulated"
        assert raw.parse().choices[0].message.content
        await it.net.settled()


@pytest.mark.spec("17.11-f")
async def test_a_gateway_of_another_image_is_refused_before_the_request(tmp_path: Path) -> None:
    async with attested(tmp_path) as it:
        assert it.policy.gateway is not None
        simulated = dataclasses.replace(it.policy.gateway.simulated, mr_td=("00" * 48,))
        rules = dataclasses.replace(it.policy.gateway, simulated=simulated)
        other = dataclasses.replace(it.policy, gateway=rules)
        async with bombyx.async_bare_http_client(policy=other) as http:
            with pytest.raises(openai.APIStatusError) as caught:
                await it.sdk(http).chat.completions.create(model=MODEL, messages=ASKED)
        assert caught.value.code == "gateway_refused"
        assert "measurement" in str(caught.value)
        assert not it.net.context.runs.open_runs()


@pytest.mark.spec("17.11-i")
async def test_certificates_rotate_under_load_without_dropping_a_stream(tmp_path: Path) -> None:
    async with attested(tmp_path) as it:
        seen: set[str] = set()
        stop = asyncio.Event()

        async def rotate() -> None:
            while not stop.is_set():
                await it.keeper.renew()
                await asyncio.sleep(0.01)

        async def ask(http: object) -> str:
            stream = await it.sdk(http).chat.completions.create(
                model=MODEL, messages=ASKED, stream=True
            )
            return "".join(
                [one.choices[0].delta.content or "" async for one in stream if one.choices]
            )

        async def client() -> list[str]:
            answers = []
            for _ in range(3):  # a fresh client each: a fresh handshake
                async with bombyx.async_bare_http_client(policy=it.policy) as http:
                    answers += [await ask(http) for _ in range(3)]
                    answer = await http.get(f"{it.origin}/healthz")
                    seen.add(answer.extensions["bombyx_gateway"].certificate)
            return answers

        rotating = asyncio.create_task(rotate())
        found = await asyncio.gather(*(client() for _ in range(4)))
        stop.set()
        await rotating
        answers = [answer for one in found for answer in one]
        assert len(answers) == 36
        assert all(answers)
        assert len(seen) > 1
        await it.net.settled()


async def test_the_sidecars_way_to_the_gateway_is_verified_too(tmp_path: Path) -> None:
    async with attested(tmp_path) as it:
        ask = Send("GET", f"{it.origin}/healthz", ())
        connector = AttestedConnector(it.policy, clock=unix_seconds)
        async with open_pool(it.origin, connector=connector) as pool:
            upstream = AiohttpUpstream(pool)
            assert (await upstream.send(ask)).status == 200
            assert await upstream.read()
            await upstream.close()
            clear = dataclasses.replace(ask, url=f"{it.net.url}/healthz")
            with pytest.raises(NeverSent) as unsent:
                await upstream.send(clear)
            assert isinstance(unsent.value.reason, GatewayRefused)
            assert "TLS only" in str(unsent.value.reason)
        nobody = dataclasses.replace(it.policy, gateway=GatewayRules())
        connector = AttestedConnector(nobody, clock=unix_seconds)
        async with open_pool(it.origin, connector=connector) as pool:
            with pytest.raises(NeverSent) as unsent:
                await AiohttpUpstream(pool).send(ask)
        assert isinstance(unsent.value.reason, GatewayRefused)
        assert "platform_allowed" in str(unsent.value.reason)


@pytest.mark.spec("17.11-g")
async def test_a_kept_connection_is_left_after_minutes(tmp_path: Path) -> None:
    async with attested(tmp_path) as it:
        now = [unix_seconds()]
        connector = AttestedConnector(it.policy, clock=lambda: now[0])
        made = []

        async def on_made(*_: object) -> None:
            made.append(now[0])

        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(on_made)
        begin = now[0]
        async with aiohttp.ClientSession(connector=connector, trace_configs=[trace]) as session:
            for seconds in (0, 1, 300):
                now[0] += seconds
                async with session.get(f"{it.origin}/healthz") as answer:
                    await answer.read()
        assert made == [begin, begin + 301]


async def test_a_context_of_ones_own_does_not_get_around_the_evidence(tmp_path: Path) -> None:
    async with attested(tmp_path) as it:
        connector = AttestedConnector(it.policy, clock=unix_seconds)
        async with aiohttp.ClientSession(connector=connector) as session:
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(f"{it.origin}/healthz", ssl=False)


async def test_sealed_requests_go_through_verified_connections_where_settings_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOMBYX_CLIENT_GATEWAY_EVIDENCE", "true")
    async with attested(tmp_path) as it:
        async with bombyx.async_http_client(policy=it.policy) as http:
            answer = await it.sdk(http).chat.completions.create(model=MODEL, messages=ASKED)
            assert answer.choices[0].message.content
        nobody = dataclasses.replace(it.policy, gateway=None)
        async with bombyx.async_http_client(policy=nobody) as http:
            with pytest.raises(openai.APIStatusError) as caught:
                await it.sdk(http).chat.completions.create(model=MODEL, messages=ASKED)
        assert caught.value.code == "gateway_refused"
        await it.net.settled()


@pytest.mark.spec("17.11-j")
async def test_a_worker_links_over_a_verified_connection_or_not_at_all(tmp_path: Path) -> None:
    async with attested(tmp_path) as it:
        (running,) = it.net.workers
        (connection,) = running.worker._dialer.connections
        verified = verified_of(connection._socket.get_extra_info("ssl_object"))
        assert verified is not None
        assert verified.gateway == connection.peer.gateway == it.net.context.gateway
        nobody = dataclasses.replace(it.policy, gateway=GatewayRules())
        connector = AttestedConnector(nobody, clock=unix_seconds)
        async with aiohttp.ClientSession(connector=connector) as session:
            with pytest.raises(aiohttp.ClientConnectorError) as caught:
                await session.ws_connect(it.net.context.link_url)
        assert refusal_of(caught.value) is not None
