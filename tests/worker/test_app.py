"""A worker's life: journal, boots, offers, rotation, sessions, load, draining."""

import asyncio
import itertools
from hashlib import sha256

import pytest

from bombyx import canonical
from bombyx.chat.body import encode_body
from bombyx.envelope.header import hash_header
from bombyx.envelope.keys import PublicSealingKey, decode_public_key
from bombyx.envelope.opener import ResponseOpener, UsageSeen
from bombyx.envelope.plaintext import PlaintextHead, pack
from bombyx.envelope.request import commitment, seal_frames
from bombyx.envelope.session import request_keys, session_info, wrap_session
from bombyx.errors import AttestationError, EngineFailed
from bombyx.link.documents import SessionStart
from bombyx.link.frames import LinkType
from bombyx.link.open import Open, SessionKey
from bombyx.money.batch import leaf_hash, root
from bombyx.money.receipt import Receipt
from bombyx.money.statement import Status, statement_hash
from bombyx.signing import Kind, verify
from tests.worker.asking import WatchedEngine, ask
from tests.worker.conftest import StartWorker
from tests.worker.peer import GatewayPeer, unix, until
from tests.worker.sealing import (
    GATEWAY,
    PAYER,
    chat,
    make_header,
    open_answer,
    seal,
)
from worker import app
from worker.attest.port import Quote
from worker.engine.port import Load
from worker.engine.scripted import ScriptedEngine


@pytest.mark.spec("10.3-f", "3.4-d")
async def test_undisposed_statements_are_resent_with_identical_bytes_until_acknowledged(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    await start_worker()
    first = await gateway.link()
    _, opened = await ask(first, chat("say: hi"))
    await first.kill()
    second = await gateway.link(1)
    await until(lambda: second.resent_bytes)
    assert second.resent_bytes == [opened.usages[-1].receipt]
    await second.kill()
    third = await gateway.link(2)
    await until(lambda: third.resent_bytes)
    assert third.resent_bytes == second.resent_bytes
    await third.ack(statement_hash(opened.final).hex())
    await third.say(LinkType.PING, b"12345678")
    await until(lambda: third.pongs == [b"12345678"])
    await asyncio.sleep(0.05)
    await third.kill()
    fourth = await gateway.link(3)
    await asyncio.sleep(0.1)
    assert not fourth.resent_bytes


@pytest.mark.spec("10.3-f")
async def test_receipts_of_an_earlier_boot_are_resent_by_the_next(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    worker = await start_worker()
    first = await gateway.link()
    _, opened = await ask(first, chat("say: hi"))
    await start_worker.stop(worker)
    await start_worker()
    second = await gateway.link(1)
    assert second.listing.keyset.boot != first.listing.keyset.boot
    await until(lambda: second.resent_bytes)
    assert second.resent_bytes == [opened.usages[-1].receipt]


@pytest.mark.spec("4-g")
async def test_a_request_sealed_to_an_earlier_boot_is_refused_and_never_runs(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    worker = await start_worker()
    first = await gateway.link()
    sealed = seal(first.listing, chat("say: hi"), now=unix())
    await (await first.ask(sealed)).over()
    await start_worker.stop(worker)
    engine = WatchedEngine()
    await start_worker(engine=engine)
    stream = await (await (await gateway.link(1)).ask(sealed)).over()
    assert stream.refusal is not None
    assert stream.refusal.refusal.code == "no_candidate"
    assert not engine.requests


@pytest.mark.spec("1.3-a")
async def test_statements_chain_without_a_gap(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    await start_worker()
    link = await gateway.link()
    answers = [(await ask(link, chat(f"say: {number}")))[1] for number in range(3)]
    statements = [opened.final for opened in answers]
    assert [statement.n for statement in statements] == [0, 1, 2]
    assert statements[0].prev == "0" * 64
    for before, after in itertools.pairwise(statements):
        assert after.prev == statement_hash(before).hex()


@pytest.mark.spec("1.5-a")
async def test_settle_batches_sign_the_same_leaves_for_the_gateway(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    await start_worker()
    link = await gateway.link()
    statements = [(await ask(link, chat(f"say: {number}")))[1].final for number in range(3)]
    await until(lambda: sum(len(one.leaves) for one in link.settles) == 3)
    leaves = [leaf for one in link.settles for leaf in one.leaves]
    assert leaves == [leaf_hash(canonical.encode(one)).hex() for one in statements]
    for one in link.settles:
        assert root([bytes.fromhex(leaf) for leaf in one.leaves]).hex() == one.batch.root
        assert (one.batch.count, one.batch.gateway) == (len(one.leaves), GATEWAY.public_hex)
        key = bytes.fromhex(link.listing.keyset.receipt_key)
        verify(Kind.SETTLE, one.batch, bytes.fromhex(one.signature), key)


async def test_the_load_is_reported_when_it_changes(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    await start_worker()
    link = await gateway.link()
    await until(lambda: link.statuses)
    assert (link.statuses[0].model, link.statuses[0].running) == ("scripted", 0)
    stream = await link.ask(seal(link.listing, chat("fault: hang 0"), now=unix()))
    await until(lambda: link.statuses[-1].running == 1)
    await link.reset(stream)
    await until(lambda: link.statuses[-1].running == 0)


@pytest.mark.spec("4.8-a")
async def test_closing_says_goaway_and_lets_requests_end(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    worker = await start_worker(grace_seconds=5)
    link = await gateway.link()
    sealed = seal(link.listing, chat("count: 10\npace: 20"), now=unix())
    stream = await link.ask(sealed)
    await until(lambda: stream.data)
    closing = asyncio.create_task(worker.close())
    await until(lambda: link.goaways)
    late = await link.ask(seal(link.listing, chat("say: late"), now=unix()))
    await late.over()
    assert late.refusal is not None
    assert late.refusal.refusal.code == "draining"
    await stream.over()
    await closing
    assert open_answer(sealed, link.listing, bytes(stream.data)).end is not None
    await until(lambda: link.is_lost)


async def test_what_outlives_the_grace_is_aborted_and_signed(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    engine = WatchedEngine()
    worker = await start_worker(engine=engine, grace_seconds=0)
    link = await gateway.link()
    sealed = seal(link.listing, chat("fault: hang 0"), now=unix())
    stream = await link.ask(sealed)
    await until(lambda: engine.live == 1)
    await worker.close()
    await stream.over()
    assert [one.statement.status for one in stream.statements] == [Status.ABORTED]


@pytest.mark.spec("4-h")
async def test_rotation_links_anew_and_still_serves_the_old_keyset(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    worker = await start_worker()
    old = await gateway.link()
    await worker.rotate()
    new = await gateway.link(1)
    before, after = old.listing.keyset, new.listing.keyset
    assert before.hpke[0].pk != after.hpke[0].pk
    assert (before.boot, before.receipt_key, before.link_key) == (
        after.boot,
        after.receipt_key,
        after.link_key,
    )
    _, one = await ask(old, chat("say: old"))
    _, two = await ask(new, chat("say: new"))
    assert (one.text, two.text) == ("old", "new")
    assert [one.final.n, two.final.n] == [0, 1]


@pytest.mark.spec("2.1-e")
async def test_new_offers_are_told_and_old_ones_honoured(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    worker = await start_worker()
    link = await gateway.link()
    sealed = seal(link.listing, chat("say: hi"), now=unix())
    before = link.listing.offers
    worker._settings = worker._settings.model_copy(update={"price_prompt": 1})
    worker.publish(worker.generations.current)
    await until(lambda: link.listing.offers != before)
    assert link.listing.offers[0].offer.prices.prompt == "1"
    stream = await (await link.ask(sealed)).over()
    assert open_answer(sealed, link.listing, bytes(stream.data)).final.prices.prompt == "20000000"


async def test_more_than_the_places_is_refused_as_busy(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    await start_worker(slots=1, max_waiting=0)
    link = await gateway.link()
    first = await link.ask(seal(link.listing, chat("fault: hang 0"), now=unix()))
    await until(lambda: link.statuses and link.statuses[-1].running == 1)
    second = await (await link.ask(seal(link.listing, chat("say: hi"), now=unix()))).over()
    assert second.refusal is not None
    assert (second.refusal.refusal.code, second.refusal.refusal.fault) == ("busy", "worker")
    await link.reset(first)
    await first.over()
    _, opened = await ask(link, chat("say: hi"))
    assert opened.text == "hi"


@pytest.mark.spec("8.3-a")
async def test_a_gateway_that_owes_too_much_is_refused(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    await start_worker(unsecured_credit_nano=18_100)
    link = await gateway.link()
    await ask(link, chat("say: hi"), max_output_tokens=256)
    sealed = seal(link.listing, chat("say: hi"), now=unix(), max_output_tokens=300)
    stream = await (await link.ask(sealed)).over()
    assert stream.refusal is not None
    assert (stream.refusal.refusal.code, stream.refusal.refusal.fault) == (
        "gateway_unpaid",
        "gateway",
    )


@pytest.mark.spec("1.3-a")
async def test_two_processes_of_one_gateway_share_one_chain(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    other = GatewayPeer()
    await other.start()
    try:
        worker = await start_worker(gateway=(gateway.url, other.url))
        links = [await gateway.link(), await other.link()]
        await until(lambda: len(worker.gateways) == 2)
        answers = [await ask(link, chat("say: hi")) for link in links]
        assert [opened.final.n for _, opened in answers] == [0, 1]
        assert answers[1][1].final.prev == statement_hash(answers[0][1].final).hex()
        await start_worker.stop(worker)
    finally:
        await other.stop()


async def test_an_engine_that_is_away_reports_no_slots(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    class Away(ScriptedEngine):
        async def load(self) -> Load:
            raise EngineFailed("away")

    await start_worker(engine=Away())
    link = await gateway.link()
    await until(lambda: link.statuses)
    assert link.statuses[0].slots == 0


async def test_statements_not_billed_leave_the_journal_too(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    worker = await start_worker()
    link = await gateway.link()
    _, opened = await ask(link, chat("say: hi"))
    await link.ack(statement_hash(opened.final).hex(), disposition="expired")
    journal = worker._parts.journal
    await until(lambda: journal.unpaid(GATEWAY.public_hex) == 0)
    assert await journal.undisposed(GATEWAY.public_hex) == []
    await link.ack(statement_hash(opened.final).hex(), disposition="expired")
    _, again = await ask(link, chat("say: hi"))
    assert again.final.n == 1


async def test_a_session_started_on_the_link_carries_bare_requests(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    await start_worker()
    link = await gateway.link()
    name, secret = b"\x01" * 16, b"\x02" * 32
    key = link.listing.keyset.hpke[0]
    info = session_info(bytes.fromhex(link.listing.worker), GATEWAY.public_key, name)
    public = PublicSealingKey.from_bytes(decode_public_key(key.pk))
    wrapped = wrap_session(public, secret, info).hex()
    start = SessionStart(session=name.hex(), key_id=key.id, wrapped=wrapped)
    await link.say(LinkType.SESSION, canonical.encode(start))
    header = hash_header(make_header(link.listing, chat("say: bare"), now=unix(), tier="bare"))
    keys = request_keys(secret, 0)
    head = PlaintextHead(content_type="application/json")
    frames = seal_frames(keys.dek, header.h, pack(head, encode_body(chat("say: bare"))))
    c = commitment(keys.dek, header.h, sha256(frames).digest())
    auth = PAYER.sign(Kind.REQUEST, {"c": c.hex()})
    request = Open(unix() + 1500, b"t", header.raw, c, auth, SessionKey(name, 0))
    stream = await (await link.open(request, frames)).over()
    assert stream.refusal is None
    opener = ResponseOpener(header.h, {link.listing.worker: keys.response_secret})
    events = opener.feed(bytes(stream.data))
    opener.finish()
    usage = [event for event in events if isinstance(event, UsageSeen)][-1]
    assert canonical.decode(usage.receipt, Receipt).statement.tier == "bare"


async def test_a_session_for_other_keys_ends_the_link(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    await start_worker()
    link = await gateway.link()
    start = SessionStart(session="0a" * 16, key_id="0b" * 16, wrapped="00")
    await link.say(LinkType.SESSION, canonical.encode(start))
    await until(lambda: link.is_lost)


@pytest.mark.spec("4-h")
async def test_the_clockwork_renews_offers_and_rotates_and_retires_keys(
    gateway: GatewayPeer, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "REFRESH_SECONDS", 0.02)
    monkeypatch.setattr(app, "ROTATION_SECONDS", 0.15)
    monkeypatch.setattr(app, "ADMISSIBLE_SECONDS", 0.1)
    await start_worker()
    first = await gateway.link()
    second = await gateway.link(1)
    assert second.listing.worker != first.listing.worker
    await until(lambda: first.is_lost)
    assert first.goaways
    monkeypatch.setattr(app, "ROTATION_SECONDS", 3600)


async def test_a_worker_may_stop_while_a_keyset_retires(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    worker = await start_worker()
    await gateway.link()
    dialer = worker._dialer
    (generation,) = [fleet.generation for fleet in dialer._fleets]
    await asyncio.gather(dialer.retire(generation, 0.1), dialer.close(0.1))
    assert not dialer._fleets


async def test_a_rotation_without_a_quote_is_tried_again_and_the_old_keys_serve_on(
    gateway: GatewayPeer, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "ROTATION_SECONDS", 0.05)
    worker = await start_worker()
    link = await gateway.link()

    async def quote(_: bytes) -> Quote:
        raise AttestationError("the machine gives no quote")

    monkeypatch.setattr(worker._parts.quoter, "quote", quote)
    await asyncio.sleep(0.1)
    _, opened = await ask(link, chat("say: on"))
    assert opened.text == "on"
    assert len(gateway.links) == 1
