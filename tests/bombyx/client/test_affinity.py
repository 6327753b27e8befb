"""SPEC 12: which shard a request belongs to, who is drawn for it, and what that tells a gateway."""

import asyncio
import threading
from collections import Counter
from typing import Any

import msgspec
import pytest
from openai import AsyncOpenAI

from bombyx.client.affinity import beginning
from bombyx.client.drive import drive
from bombyx.client.effects import Begin, ClearRequest, Head, Read, Reply, Send, Wait
from bombyx.client.identity import SHARDS, Identity
from bombyx.client.session import Session
from bombyx.envelope.header import Header
from bombyx.envelope.request import open_frames, parse_request
from bombyx.envelope.response import Padding
from tests.bombyx.client.conftest import IDENTITY, Clock, Heard, new_session
from tests.bombyx.client.peer import Peer, Received, entry, open_request
from tests.factories import MODEL, seed, worker

SYSTEM = {"role": "system", "content": "You know silk."}
FIRST = {"role": "user", "content": "What is a cocoon?"}
THEN = [{"role": "assistant", "content": "A house."}, {"role": "user", "content": "Of what?"}]


def header_of(received: Received) -> Header:
    return parse_request(received.body)[0].header.header


def body(*messages: Any, **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": list(messages), **fields}


def test_12_a_conversation_keeps_its_beginning_while_it_grows() -> None:
    start = beginning(body(SYSTEM, FIRST))
    assert beginning(body(SYSTEM, FIRST, *THEN, temperature=1)) == start
    assert beginning(body(SYSTEM, THEN[1])) != start
    assert beginning(body(FIRST)) != start
    assert beginning(body(SYSTEM, FIRST, tools=[{"type": "function"}])) != start
    for odd in (body(SYSTEM), {"model": MODEL}, body("text", FIRST), {"messages": "no list"}):
        assert beginning(odd)


def test_12_every_dialect_keeps_its_beginning() -> None:
    start = beginning({"model": MODEL, "instructions": "be kind", "input": [FIRST]})
    assert beginning({"model": MODEL, "instructions": "be kind", "input": [FIRST, *THEN]}) == start
    assert beginning({"model": MODEL, "instructions": "be rude", "input": [FIRST]}) != start
    assert beginning({"model": MODEL, "input": "a"}) != beginning({"model": MODEL, "input": "b"})
    told = "once upon a time " * 100
    text = beginning({"model": MODEL, "prompt": told})
    assert beginning({"model": MODEL, "prompt": told + "there was a moth"}) == text
    assert beginning({"model": MODEL, "prompt": "twice"}) != text
    assert beginning({"model": MODEL, "prompt": [1, 2]})


def test_12_a_shard_is_one_of_sixteen_and_means_nothing_elsewhere() -> None:
    names = Counter(IDENTITY.shard("Bearer k", str(one).encode()).name for one in range(800))
    assert len(names) == SHARDS
    assert max(names.values()) < 3 * 800 / SHARDS
    same = [IDENTITY.shard("Bearer k", b"x") for _ in range(2)]
    assert same[0] == same[1]
    others = [
        Identity(seed("payer root"), seed("other user")).shard("Bearer k", bytes([one]))
        for one in range(64)
    ]
    mine = [IDENTITY.shard("Bearer k", bytes([one])) for one in range(64)]
    theirs = [IDENTITY.shard("Bearer other", bytes([one])) for one in range(64)]
    for foreign in (others, theirs):
        agree = sum(a.name == b.name for a, b in zip(mine, foreign, strict=True))
        assert agree < 16
        assert not {one.pin for one in mine} & {one.pin for one in foreign}


async def ask(sdk: AsyncOpenAI, *messages: Any) -> None:
    await sdk.chat.completions.create(model=MODEL, messages=list(messages))


async def test_12_a_conversation_stays_with_the_same_workers(sdk: AsyncOpenAI, peer: Peer) -> None:
    peer.entries = [entry(worker(name)) for name in "abcdefgh"]
    peer.pick = lambda data: next(  # type: ignore[method-assign]
        worker(name)
        for name in "abcdefgh"
        if worker(name).id in {c.worker for c in parse_request(data)[0].header.header.candidates}
    )
    for _ in range(3):
        await ask(sdk, SYSTEM, FIRST)
        await ask(sdk, SYSTEM, FIRST, *THEN)
    headers = [header_of(one) for one in peer.posts]
    assert len({header.cache_shard for header in headers}) == 1
    assert len({tuple(one.worker for one in header.candidates) for header in headers}) == 1
    drawn = set()
    for number in range(24):
        await ask(sdk, SYSTEM, {"role": "user", "content": f"question {number}"})
        drawn.add(tuple(one.worker for one in header_of(peer.posts[-1]).candidates))
    assert len(drawn) > 4


async def test_12_without_affinity_no_shard_is_named(peer: Peer) -> None:
    session = new_session(Clock(), Heard(), affinity=False)
    play(session, peer, body(FIRST))
    assert header_of(peer.posts[-1]).cache_shard is msgspec.UNSET


@pytest.mark.parametrize("padding", list(Padding))
async def test_3_7_padding_is_asked_for_inside_the_sealed_body(
    peer: Peer, padding: Padding
) -> None:
    heard = Heard()
    play(new_session(Clock(), heard, padding=padding), peer, body(FIRST))
    data = peer.posts[-1].body
    asked = open_plain(data, peer)
    assert asked == ("exact" if padding is Padding.EXACT else msgspec.UNSET)
    assert b"exact" not in data
    told = heard.receipts[0].summary().get("padding")
    assert told == ("exact" if padding is Padding.EXACT else None)


def open_plain(data: bytes, peer: Peer) -> Any:
    head, frames = parse_request(data)
    opened = open_request(data, peer.pick(data))
    return open_frames(opened.secret.dek, head.header.h, frames).head.padding


def request_of(wanted: dict[str, Any]) -> ClearRequest:
    headers = (("content-type", "application/json"), ("authorization", "Bearer k"))
    encoded = msgspec.json.encode(wanted)
    return ClearRequest("POST", "http://g", "/v1/chat/completions", "", headers, encoded)


def reply_to(peer: Peer, wanted: Send) -> tuple[Head, list[bytes]]:
    path = wanted.url.removeprefix("http://g").partition("?")[0]
    received = Received(wanted.method, path, "", dict(wanted.headers), wanted.body)
    peer.received.append(received)
    told = peer.reply(received)
    head = Head(told.status, (("content-type", told.content_type), *told.headers.items()))
    return head, [b"".join(told.pieces)]


def play(session: Session, peer: Peer, wanted: dict[str, Any]) -> int:
    """One exchange; the status that the SDK would see."""
    steps, reply, chunks, status = session.exchange(request_of(wanted)), None, [b""], 0
    answer: Reply = reply
    while True:
        try:
            effect = steps.send(answer)
        except StopIteration:
            return status
        answer = None
        if isinstance(effect, Send):
            answer, chunks = reply_to(peer, effect)
        elif isinstance(effect, Read):
            answer = chunks.pop() if chunks else b""
        elif isinstance(effect, Begin):
            status = effect.status


def test_13_exchanges_that_need_one_directory_fetch_it_once(session: Session, peer: Peer) -> None:
    first = session.exchange(request_of(body(FIRST)))
    fetch = next(first)
    assert isinstance(fetch, Send)
    assert fetch.method == "GET"
    second = session.exchange(request_of(body(FIRST)))
    waits = next(second)
    assert isinstance(waits, Wait)
    assert not waits.event.done()
    head, chunks = reply_to(peer, fetch)
    first.send(head)
    first.send(chunks[0])
    posted = first.send(b"")
    assert isinstance(posted, Send)
    assert posted.method == "POST"
    assert waits.event.done()
    own = second.send(None)
    assert isinstance(own, Send)
    assert own.method == "POST"
    first.close()
    second.close()


def test_13_when_the_fetch_fails_the_next_one_fetches_itself(session: Session, peer: Peer) -> None:
    first = session.exchange(request_of(body(FIRST)))
    next(first)
    second = session.exchange(request_of(body(FIRST)))
    waits = next(second)
    assert isinstance(waits, Wait)
    first.close()  # its caller left
    assert waits.event.done()
    fetch = second.send(None)
    assert isinstance(fetch, Send)
    assert fetch.method == "GET"
    second.close()
    assert play(session, peer, body(FIRST)) == 200


async def test_13_concurrent_calls_of_an_sdk_share_the_fetch(sdk: AsyncOpenAI, peer: Peer) -> None:
    peer.pause = 0.02
    await asyncio.gather(*(ask(sdk, SYSTEM, FIRST) for _ in range(6)))
    gets = [one for one in peer.received if one.method == "GET"]
    assert (len(gets), len(peer.posts)) == (1, 6)


class Slow:
    """A blocking upstream whose directory comes when it is told to."""

    def __init__(self, peer: Peer, fetching: threading.Event, go_on: threading.Event) -> None:
        self.peer, self.fetching, self.go_on = peer, fetching, go_on
        self.chunks: list[bytes] = []

    def send(self, request: Send) -> Head:
        if request.method == "GET":
            self.fetching.set()
            self.go_on.wait(5)
        head, self.chunks = reply_to(self.peer, request)
        return head

    def read(self) -> bytes:
        return self.chunks.pop() if self.chunks else b""

    def close(self) -> None:
        pass


def test_13_threads_wait_for_each_other_s_fetch(session: Session, peer: Peer) -> None:
    fetching, go_on = threading.Event(), threading.Event()
    results: list[int] = []

    def run() -> None:
        items = drive(session.exchange(request_of(body(FIRST))), Slow(peer, fetching, go_on))
        results.extend(item.status for item in items if isinstance(item, Begin))

    threads = [threading.Thread(target=run) for _ in range(4)]
    threads[0].start()
    assert fetching.wait(5)
    for thread in threads[1:]:
        thread.start()
    go_on.set()
    for thread in threads:
        thread.join(5)
    assert results == [200] * 4
    assert sum(one.method == "GET" for one in peer.received) == 1
