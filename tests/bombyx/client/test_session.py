"""The session driven by hand: no socket, bytes torn anywhere, replies of the wrong kind."""

from collections.abc import Iterator

import msgspec
import pytest

from bombyx.client.effects import Begin, ClearRequest, Emit, Head, Read, Reply, Send, Steps
from bombyx.client.session import Session
from tests.bombyx.client.conftest import Clock, Heard, new_session
from tests.bombyx.client.peer import ANSWER, Peer, Received
from tests.factories import MODEL

PROMPT = "canary"


def request(*, stream: bool = False, path: str = "/v1/chat/completions") -> ClearRequest:
    body = {"model": MODEL, "stream": stream, "messages": [{"role": "user", "content": PROMPT}]}
    if stream:
        body["stream_options"] = {"include_usage": True}
    headers = (("content-type", "application/json"), ("authorization", "Bearer k"))
    return ClearRequest("POST", "http://g", path, "", headers, msgspec.json.encode(body))


class ByHand:
    """Plays a shell over a peer, `size` bytes at a time."""

    def __init__(self, peer: Peer, *, size: int) -> None:
        self.peer = peer
        self.size = size
        self.begin = Begin(0, ())
        self.body = b""
        self._chunks: Iterator[bytes] = iter(())

    def run(self, steps: Steps) -> "ByHand":
        reply: Reply = None
        while True:
            try:
                effect = steps.send(reply)
            except StopIteration:
                return self
            reply = None
            match effect:
                case Send():
                    reply = self._send(effect)
                case Read():
                    reply = next(self._chunks, b"")
                case Begin():
                    self.begin = effect
                case Emit(data):
                    self.body += data

    def _send(self, wanted: Send) -> Head:
        path = wanted.url.removeprefix("http://g").partition("?")[0]
        received = Received(wanted.method, path, "", dict(wanted.headers), wanted.body)
        self.peer.received.append(received)
        reply = self.peer.reply(received)
        whole = b"".join(reply.pieces)
        self._chunks = (whole[at : at + self.size] for at in range(0, len(whole), self.size))
        return Head(reply.status, (("content-type", reply.content_type), *reply.headers.items()))


@pytest.mark.parametrize("size", [1, 7, 2**20])
@pytest.mark.parametrize("stream", [False, True])
def test_answers_may_come_torn_anywhere(
    session: Session, heard: Heard, size: int, *, stream: bool
) -> None:
    peer = Peer()
    got = ByHand(peer, size=size).run(session.exchange(request(stream=stream)))
    assert got.begin.status == 200
    assert b'"verified":true' in got.body
    assert got.body.endswith(b"data: [DONE]\n\n") is stream
    assert len(heard.receipts) == 1
    assert not peer.saw(PROMPT)


def test_an_answer_that_stops_before_its_head_is_truncated(session: Session) -> None:
    peer = Peer(relay=lambda frames: [frames[0][:40]])
    got = ByHand(peer, size=7).run(session.exchange(request(stream=True)))
    assert got.begin.status == 502
    assert b"truncated" in got.body


def test_a_session_without_listeners_verifies_all_the_same(clock: Clock, session: Session) -> None:
    silent = new_session(clock, Heard())
    got = ByHand(Peer(), size=64).run(silent.exchange(request()))
    assert ANSWER.encode() in got.body
    quiet = Session(
        session._finder._verifier.policy, session._identity, clock=clock, draw=session._draw
    )
    broken = Peer(relay=lambda frames: frames[:-1])
    assert ByHand(broken, size=64).run(quiet.exchange(request())).begin.status == 502
    assert ByHand(Peer(), size=64).run(quiet.exchange(request(stream=True))).begin.status == 200


@pytest.mark.parametrize("wrong", [None, b"bytes"])
def test_a_shell_that_answers_a_send_with_something_else_is_a_bug(
    session: Session, wrong: Reply
) -> None:
    steps = session.exchange(request())
    assert isinstance(next(steps), Send)
    with pytest.raises(TypeError):
        steps.send(wrong)


def test_a_shell_that_answers_a_read_with_something_else_is_a_bug(session: Session) -> None:
    steps = session.exchange(request())
    next(steps)
    assert isinstance(steps.send(Head(200, ())), Read)
    with pytest.raises(TypeError):
        steps.send(None)


def test_an_answer_beyond_all_bounds_is_refused(session: Session) -> None:
    steps = session.exchange(request())
    next(steps)
    steps.send(Head(404, (("content-type", "application/json"),)))
    effect = steps.send(bytes(2**20))
    assert isinstance(effect, Begin)
    assert effect.status == 502


def test_a_foreign_path_is_refused_here(session: Session) -> None:
    got = ByHand(Peer(), size=64).run(session.exchange(request(path="/chat/completions")))
    assert got.begin.status == 400
    assert b"ending in /v1" in got.body


def test_a_body_beyond_the_limit_is_refused_here(session: Session) -> None:
    whole = request()
    large = ClearRequest("POST", "http://g", whole.path, "", whole.headers, bytes(2**26 + 1))
    got = ByHand(Peer(), size=64).run(session.exchange(large))
    assert got.begin.status == 413
