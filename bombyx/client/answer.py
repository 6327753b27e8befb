"""Turning a sealed answer into what the SDK expects (SPEC 3.5, 3.9).

A stream passes event by event, but its usage chunk and `[DONE]` wait until the receipt is verified:
a stream that ends without them has not been answered. A whole answer waits altogether. Whatever
goes wrong after a stream began becomes an error event, since SDKs take a bare close for success.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass

import msgspec

from bombyx.chat.breaking import break_event
from bombyx.chat.refusing import refusal_of
from bombyx.client.disputes import Dispute
from bombyx.client.effects import Begin, Effect, Emit, Headers, Reply, find, read
from bombyx.client.reading import AnswerReader
from bombyx.client.receipts import Sealed, VerifiedAnswer
from bombyx.client.refusals import whole
from bombyx.client.shaping import StreamShaper, with_summary
from bombyx.client.transcripts import Transcript
from bombyx.client.waivers import Waiver
from bombyx.errors import BadAnswer, BombyxError, RemoteError, Truncated, envelope

MAX_WHOLE_BYTES = 64 * 2**20
"""An answer that is not streamed is held in memory until it is verified."""
EVENT_STREAM = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Listeners:
    """Who is told of verified answers, of those that were refused, and of requests given up.

    `on_transcript` gets content in clear, and is set by the user's explicit wish only.
    """

    on_receipt: Callable[[VerifiedAnswer], None] | None = None
    on_dispute: Callable[[Dispute], None] | None = None
    on_transcript: Callable[[Transcript], None] | None = None
    on_waived: Callable[[Waiver], None] | None = None


def deliver(
    sealed: Sealed, passed_on: Headers, listeners: Listeners
) -> Generator[Effect, Reply, bool]:
    """Read the sealed answer and give it to the SDK; whether it was answered and verified.

    `passed_on` is what the gateway's own headers add.
    Raises `RemoteError` as long as the SDK has got nothing.
    """
    reader = AnswerReader(sealed)
    try:
        first = yield from _until_head(reader)
        if not _is_stream(reader, sealed):
            return (yield from _deliver_whole(reader, first, sealed, passed_on, listeners))
    except RemoteError as error:
        _dispute(reader, error, listeners)
        raise
    form = (("content-type", EVENT_STREAM), ("cache-control", "no-cache"))
    yield Begin(200, (*form, *_labels(reader, sealed, passed_on)))
    return (yield from _deliver_stream(reader, first, sealed.path, listeners))


def _until_head(reader: AnswerReader) -> Generator[Effect, Reply, bytes]:
    """Read until status and headers are known; the data that came with them."""
    while True:
        piece = yield from read()
        if not piece:
            raise Truncated("the answer broke off before its head")
        data = reader.feed(piece)
        if reader.head is not None:
            return data


def _is_stream(reader: AnswerReader, sealed: Sealed) -> bool:
    head = reader.head
    if head is None or head.head.status >= 400:  # noqa: PLR2004  (HTTP's own boundary)
        return False
    media_type = dict(head.head.headers).get("content-type", "").partition(";")[0].strip()
    if (media_type == EVENT_STREAM) != sealed.stream:
        raise BadAnswer("the worker answered in another form than was asked for")
    return sealed.stream


def _deliver_stream(
    reader: AnswerReader, data: bytes, path: str, listeners: Listeners
) -> Generator[Effect, Reply, bool]:
    shaper = StreamShaper(path)
    try:
        while True:
            if events := shaper.feed(data):
                yield Emit(events)
            piece = yield from read()
            if not piece:
                break
            data = reader.feed(piece)
        answer = _verified(reader, listeners)
        if reader.error is None:
            yield Emit(shaper.done(answer.summary()))
            return True
        yield Emit(break_event(path, reader.error))
    except BombyxError as error:
        _dispute(reader, error, listeners)
        yield Emit(break_event(path, envelope(error)["error"]))
    return False


def _deliver_whole(
    reader: AnswerReader, data: bytes, sealed: Sealed, passed_on: Headers, listeners: Listeners
) -> Generator[Effect, Reply, bool]:
    pieces, size = [data], len(data)
    while piece := (yield from read()):
        pieces.append(reader.feed(piece))
        size += len(pieces[-1])
        if size > MAX_WHOLE_BYTES:
            raise BadAnswer(f"the answer is longer than {MAX_WHOLE_BYTES} bytes: stream it")
    answer = _verified(reader, listeners)
    labels = _labels(reader, sealed, passed_on)
    if reader.error is not None:
        # Signed and billed: sending it again would only ask for the same outcome.
        name = find(labels, "x-request-id")
        told = refusal_of(sealed.path, RemoteError.status, reader.error, request_id=name)
        body = msgspec.json.encode(told)
        yield from whole(RemoteError.status, body, (*labels, ("x-should-retry", "false")))
        return False
    status = reader.head.head.status if reader.head else RemoteError.status
    yield from whole(status, with_summary(b"".join(pieces), answer.summary()), labels)
    return True


def _verified(reader: AnswerReader, listeners: Listeners) -> VerifiedAnswer:
    answer = reader.finish()
    if listeners.on_receipt is not None:
        listeners.on_receipt(answer)
    transcript = reader.transcript(answer)
    if transcript is not None and listeners.on_transcript is not None:
        listeners.on_transcript(transcript)
    return answer


def _dispute(reader: AnswerReader, error: BombyxError, listeners: Listeners) -> None:
    if listeners.on_dispute is not None:
        listeners.on_dispute(reader.dispute(error.code))


def _labels(reader: AnswerReader, sealed: Sealed, passed_on: Headers) -> Headers:
    """Headers that the client itself vouches for; those passed on are the gateway's word."""
    named = () if find(passed_on, "x-request-id") else (("x-request-id", sealed.id),)
    return (
        ("x-bombyx-tier", "sealed"),
        ("x-bombyx-id", sealed.id),
        ("x-bombyx-worker", reader.head.worker if reader.head else ""),
        *named,
        *passed_on,
    )
