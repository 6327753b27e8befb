"""What a worker may not do on its link, and what it is told (SPEC 10)."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest

from bombyx import canonical
from bombyx.attestation.simulated import image_measurement
from bombyx.envelope.frames import FrameType, encode_frame
from bombyx.link.documents import Goaway, WorkerStatus
from bombyx.link.frames import LinkType, encode_link_frame
from bombyx.link.hello import Challenge, Hello, Identify, worker_terms
from bombyx.link.mux import Mux
from bombyx.money.offer import Offer, sign_offer
from bombyx.signing import Kind, Role, Signer
from gateway.workers import endpoint
from tests.network.asking import asking, settled
from tests.network.harness import MODEL, Network
from tests.network.liar import PRICES, Liar, dialled, liar, make_generation, unix
from tests.network.requests import directory, error_of
from worker.attest.simulated import SimulatedQuoter
from worker.attest.simulated_root import SimulatedRoot
from worker.identity import Boot
from worker.link.handshake import SentAway

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def farewell(socket: aiohttp.ClientWebSocketResponse) -> tuple[str, bool]:
    """Code and `retry` of the goaway before the gateway hangs up."""
    mux, said = Mux(), None
    async with asyncio.timeout(5):
        async for message in socket:
            for frame in mux.receive(message.data):
                if frame.type == LinkType.GOAWAY:
                    said = canonical.decode(frame.payload, Goaway)
    assert said is not None
    return said.code, said.retry


HELLO = canonical.encode(Hello(v="bombyx-link/1", nonce="00" * 32))
FIRST_WORDS: dict[str, tuple[bytes, str]] = {
    "oversized": (bytes(2**16 + 1), "link_protocol"),
    "torn": (b"\1\0\0", "link_protocol"),
    "wrong_length": (struct.pack(">BII", 1, 0, 99) + b"x", "link_protocol"),
    "unknown_type": (encode_link_frame(99, 0, b""), "link_protocol"),
    "another_document": (encode_link_frame(LinkType.PING, 0, bytes(8)), "link_protocol"),
    "a_stream": (encode_link_frame(LinkType.HELLO, 7, HELLO), "link_protocol"),
    "not_canonical": (encode_link_frame(LinkType.HELLO, 0, b"{}"), "not_canonical"),
    "not_json": (encode_link_frame(LinkType.HELLO, 0, b"\xff"), "not_canonical"),
}


@pytest.mark.parametrize("name", FIRST_WORDS)
async def test_a_wrong_first_word_ends_the_link(empty: Network, name: str) -> None:
    data, code = FIRST_WORDS[name]
    async with dialled(empty) as socket:
        await socket.send_bytes(data)
        assert await farewell(socket) == (code, True)


async def test_a_text_message_ends_the_link(empty: Network) -> None:
    async with dialled(empty) as socket:
        await socket.send_str("hello")
        assert await farewell(socket) == ("link_protocol", True)


async def test_a_message_beyond_what_the_server_buffers_closes_the_socket(empty: Network) -> None:
    async with dialled(empty) as socket:
        await socket.send_bytes(bytes(2**18))
        async with asyncio.timeout(5):
            message = await socket.receive()
        assert message.type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED}


@pytest.mark.spec("10.3-e")
async def test_silence_in_the_hello_ends_the_link(
    empty: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "HELLO_SECONDS", 0.05)
    async with dialled(empty) as socket:
        assert await farewell(socket) == ("link_protocol", True)


async def test_other_websockets_are_refused(empty: Network) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await session.ws_connect(empty.url.replace("http", "ws") + "/v1/elsewhere")
        assert caught.value.status == 403


@pytest.mark.parametrize("state", ["draining", "full"])
async def test_no_link_begins_while_draining_or_full(empty: Network, state: str) -> None:
    context = empty.context
    before = context.settings
    if state == "draining":
        context.draining = True
    else:
        context.settings = before.model_copy(update={"max_links": 0})
    try:
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await session.ws_connect(context.link_url)
    finally:
        context.draining, context.settings = False, before


async def refused(net: Network, **changes: Any) -> str:
    with pytest.raises(SentAway) as caught:
        async with liar(net, **changes):
            pass
    assert caught.value.retry is (caught.value.reason != "worker_refused")
    return caught.value.reason


@pytest.mark.spec("10.3-c")
async def test_a_worker_that_the_policy_refuses_is_sent_away_and_never_listed(
    empty: Network,
) -> None:
    boot = Boot.fresh()
    stranger = SimulatedRoot.create(now=unix())
    for quoter in (
        SimulatedQuoter(stranger, image=image_measurement("0.1.0"), clock=unix),
        SimulatedQuoter(empty.root, image=image_measurement("9.9.9"), clock=unix),
    ):
        generation = await make_generation(empty, boot=boot, quoter=quoter)
        assert await refused(empty, boot=boot, generation=generation) == "worker_refused"
    assert (await directory(empty)).workers == []
    assert empty.context.registry.all() == []


@pytest.mark.spec("10.3-c")
async def test_a_worker_that_cannot_sign_with_its_link_key_is_sent_away(empty: Network) -> None:
    boot = Boot.fresh()
    generation = await make_generation(empty, boot=boot)
    assert await refused(empty, boot=Boot.fresh(), generation=generation) == "link_protocol"


@pytest.mark.spec("10.3-g")
async def test_a_worker_whose_clock_is_wrong_is_told_and_never_listed(empty: Network) -> None:
    for ahead in (-400, 400):
        assert await refused(empty, ahead=ahead) == "clock_skew"
    assert empty.context.registry.all() == []
    async with liar(empty, ahead=-200):
        assert len(empty.context.registry.all()) == 1


@contextlib.asynccontextmanager
async def challenged(
    net: Network,
) -> AsyncIterator[tuple[aiohttp.ClientWebSocketResponse, Hello, Challenge]]:
    async with dialled(net) as socket:
        hello = canonical.decode(HELLO, Hello)
        await socket.send_bytes(encode_link_frame(LinkType.HELLO, 0, HELLO))
        (frame,) = Mux().receive((await socket.receive()).data)
        yield socket, hello, canonical.decode(frame.payload, Challenge)


@pytest.mark.spec("10.3-c")
@pytest.mark.parametrize("what", ["keyset", "evidence", "collateral", "offer", "forged_offer"])
async def test_documents_that_do_not_hold_send_a_worker_away(empty: Network, what: str) -> None:
    boot = Boot.fresh()
    generation = await make_generation(empty, boot=boot)
    terms = None
    async with challenged(empty) as (socket, hello, offered):
        terms = worker_terms(hello, offered, worker=generation.worker, at=unix())
        identify = Identify(
            keyset=canonical.encode(generation.keyset).decode(),
            evidence=canonical.encode(generation.attested.evidence).decode(),
            offers=generation.offers.documents(),
            at=unix(),
            signature=boot.link.sign(Kind.LINK_WORKER, terms).hex(),
            collateral=canonical.encode(generation.attested.collateral).decode(),
        )
        cases: dict[str, dict[str, Any]] = {
            "keyset": {"keyset": "{}"},
            "evidence": {"evidence": identify.keyset},
            "collateral": {"collateral": "[]"},
            "offer": {"offers": ["{}"]},
            "forged_offer": {"offers": [_forged(generation.worker)]},
        }
        identify = msgspec.structs.replace(identify, **cases[what])
        mux = Mux()
        mux.document(LinkType.IDENTIFY, canonical.encode(identify))
        while message := mux.next_message():
            await socket.send_bytes(message)
        code, _ = await farewell(socket)
        assert code in {"not_canonical", "bad_signature"}


def _forged(worker: str) -> str:
    offer = Offer(
        v="bombyx/1",
        worker=worker,
        model=MODEL,
        prices=PRICES,
        valid_until=unix() + 900,
        max_concurrency=1,
    )
    signer = Signer(Role.LINK, bytes(32))
    return canonical.encode(sign_offer(offer, signer)).decode()


WORDS: dict[str, tuple[bytes, str]] = {
    "open": (encode_link_frame(LinkType.OPEN, 9, b""), "link_protocol"),
    "hello": (encode_link_frame(LinkType.HELLO, 0, HELLO), "link_protocol"),
    "ack": (encode_link_frame(LinkType.ACK, 0, b"{}"), "link_protocol"),
    "session": (encode_link_frame(LinkType.SESSION, 0, b"{}"), "link_protocol"),
    "status": (encode_link_frame(LinkType.STATUS, 0, b"[]"), "not_canonical"),
    "offer": (encode_link_frame(LinkType.OFFER, 0, _forged("ab" * 32).encode()), "bad_signature"),
    "settle": (encode_link_frame(LinkType.SETTLE, 0, b""), "not_canonical"),
    "credit": (encode_link_frame(LinkType.CREDIT, 1, b"1"), "link_protocol"),
    "spanning_stream": (encode_link_frame(LinkType.DATA | 0x80, 1, b""), "link_protocol"),
}


@pytest.mark.spec("10.1-e")
@pytest.mark.parametrize("name", WORDS)
async def test_a_wrong_word_on_a_live_link_ends_it(empty: Network, name: str) -> None:
    data, code = WORDS[name]
    async with liar(empty) as one:
        await one.socket.send_bytes(data)
        async with asyncio.timeout(5):
            await one.closed.wait()
        assert one.goaways[-1].code == code
    assert empty.context.registry.all() == []


@pytest.mark.spec("10.1-e")
@pytest.mark.parametrize("name", ["ping_as_stream", "refusal", "beyond_credit", "credit_flood"])
async def test_a_wrong_word_on_a_stream_ends_the_link_and_the_request(
    empty: Network, name: str
) -> None:
    async with liar(empty) as one, asking(empty, one) as asked:
        job = await one.job()
        if name == "ping_as_stream":
            await one.word(job, LinkType.PING)
        elif name == "refusal":
            await one.word(job, LinkType.REFUSAL, b"{}")
        elif name == "credit_flood":
            for _ in range(2):
                await one.word(job, LinkType.CREDIT, struct.pack(">I", 2**31 - 1))
        else:
            await _overdraw(one, job.stream)
        async with asyncio.timeout(5):
            await one.closed.wait()
        assert one.goaways[-1].code in {"link_protocol", "not_canonical"}
        assert error_of(await asked.task) == (502, "link_lost")
    await settled(empty, asked)
    assert await empty.balance() == asked.before


async def _overdraw(one: Liar, stream: int) -> None:
    """Heads alone, which no client may see: nothing is taken, so no credit comes back."""
    data = bytes(32) + encode_frame(FrameType.HEAD, 0, bytes(2**20)) * 2
    with contextlib.suppress(ConnectionError, aiohttp.ClientError):
        for at in range(0, len(data), 16_000):
            frame = encode_link_frame(LinkType.DATA, stream, data[at : at + 16_000])
            await one.socket.send_bytes(frame)


@pytest.mark.spec("10.1-f")
async def test_frames_of_streams_that_are_over_are_ignored(empty: Network) -> None:
    async with liar(empty) as one:
        for kind in (LinkType.DATA, LinkType.END, LinkType.STATEMENT, LinkType.CREDIT):
            await one.socket.send_bytes(encode_link_frame(kind, 77, bytes(4)))
        await one.document(LinkType.PING, b"12345678")
        async with asyncio.timeout(5):
            while not one.pongs:
                await asyncio.sleep(0.01)
        assert one.pongs == [b"12345678"]


@pytest.mark.spec("10.3-e")
async def test_silence_ends_a_live_link(empty: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "SILENCE_SECONDS", 0.1)
    async with liar(empty) as one:
        async with asyncio.timeout(5):
            await one.closed.wait()
        assert one.goaways[-1].code == "link_protocol"


async def test_the_gateway_asks_for_signs_of_life(
    empty: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "PING_SECONDS", 0.02)
    async with liar(empty) as one:
        listed = empty.context.registry.get(one.worker)
        assert listed is not None
        async with asyncio.timeout(5):
            while listed.link.rtt_ns == 0:
                await asyncio.sleep(0.01)
        await one.document(LinkType.PONG, b"odd")  # no nonce of ours: ignored
        assert listed.link.rtt_ns > 0


@pytest.mark.spec("10.3-d")
async def test_a_newer_link_of_the_same_keyset_takes_the_place_of_the_older(
    empty: Network,
) -> None:
    async with liar(empty) as older, asking(empty, older) as asked:
        job = await older.job()
        await older.begin(job)
        await older.token(job)
        async with liar(empty, boot=older.boot, generation=older.generation) as newer:
            async with asyncio.timeout(5):
                while not older.goaways:
                    await asyncio.sleep(0.01)
            assert older.goaways[0].code == "replaced"
            # What runs on the old link may end there; what is new goes to the new one.
            async with asking(empty, newer) as second:
                other = await newer.job()
                await newer.begin(other)
                await newer.token(other)
                await newer.finish(other, newer.statement(other))
                assert (await second.task).status_code == 200
            await older.finish(job, older.statement(job))
            assert (await asked.task).status_code == 200


async def test_a_worker_that_says_goodbye_gets_nothing_new(empty: Network) -> None:
    async with liar(empty) as one:
        goaway = Goaway(code="draining", message="going", retry=False)
        await one.document(LinkType.GOAWAY, canonical.encode(goaway))
        async with asyncio.timeout(5):
            while (await directory(empty)).workers:
                await asyncio.sleep(0.01)
        assert empty.context.registry.models(unix()) == {}
        async with asyncio.timeout(5):
            await one.socket.close()


async def test_loads_count_for_models_that_the_worker_has(empty: Network) -> None:
    async with liar(empty) as one:
        listed = empty.context.registry.get(one.worker)
        assert listed is not None
        for model in ("made-up", MODEL):
            status = WorkerStatus(model=model, running=1, waiting=2, slots=7)
            await one.document(LinkType.STATUS, canonical.encode(status))
        async with asyncio.timeout(5):
            while not listed.loads:
                await asyncio.sleep(0.01)
        assert set(listed.loads) == {MODEL}
        assert (listed.waiting(MODEL), listed.slots(MODEL)) == (2, 100)


async def test_a_newer_offer_takes_over_and_the_older_stays_honoured(empty: Network) -> None:
    async with liar(empty) as one:
        listed = empty.context.registry.get(one.worker)
        assert listed is not None
        (old,) = listed.quotes
        dearer = msgspec.structs.replace(PRICES, prompt="30000000")
        kinds = [(one.worker, MODEL, 3600), ("ab" * 32, MODEL, 3600), (one.worker, "made-up", 3600)]
        for worker, model, seconds in kinds:
            offer = Offer(
                v="bombyx/1",
                worker=worker,
                model=model,
                prices=dearer,
                valid_until=unix() + seconds,
                max_concurrency=1,
            )
            signed = sign_offer(offer, one.boot.link)
            await one.document(LinkType.OFFER, canonical.encode(signed))
        async with asyncio.timeout(5):
            while len(listed.quotes) < 2:
                await asyncio.sleep(0.01)
        assert old in listed.quotes
        shown = (await directory(empty)).workers[0].offers
        assert [signed.offer.prices.prompt for signed in shown] == ["30000000"]
