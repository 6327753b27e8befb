"""Every reader of foreign bytes, by name: what must be total (SPEC 1.6).

A reader gets bytes and returns, or raises what it may: a `BombyxError`, with a code of the
registry, or where noted a `ValueError` that its one caller turns into such an error. Used by the
hypothesis tests, the negative vectors and the atheris targets. Keys and other context of a reader
are those of `tests.factories`.
"""

import hashlib
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from bombyx import canonical
from bombyx.attestation.checks import read_quote
from bombyx.attestation.collateral import Collateral
from bombyx.attestation.evidence import Evidence
from bombyx.attestation.keyset import Keyset
from bombyx.attestation.pem import split_certificates
from bombyx.attestation.policy import Policy, parse_policy, policy_hash, render_policy
from bombyx.attestation.tdx_quote import parse_quote
from bombyx.attestation.verify import examine
from bombyx.chat.body import encode_body, parse_body, request_head
from bombyx.chat.paths import CHAT_PATH
from bombyx.chat.size import max_input_bound
from bombyx.chat.sse import SseDecoder
from bombyx.chat.surface import admit
from bombyx.client.directory import parse_directory
from bombyx.client.effects import Head
from bombyx.client.reading import _error_object
from bombyx.client.refusals import PROBLEM_TYPE, gateway_error, read_problem
from bombyx.client.shaping import StreamShaper
from bombyx.envelope.documents import RelayNote, ResponseHead, StreamEnd
from bombyx.envelope.frames import FrameSplitter
from bombyx.envelope.header import parse_header
from bombyx.envelope.keys import decode_public_key
from bombyx.envelope.opener import ResponseOpener
from bombyx.envelope.plaintext import unpack
from bombyx.envelope.request import check_auth, open_frames, parse_request, unwrap
from bombyx.envelope.session import session_info, unwrap_session
from bombyx.envelope.walker import ResponseWalker
from bombyx.link.documents import (
    Ack,
    Disposition,
    Goaway,
    Lost,
    SessionStart,
    Settle,
    SignedRefusal,
    WorkerStatus,
)
from bombyx.link.frames import Reassembler
from bombyx.link.hello import (
    Challenge,
    Hello,
    Identify,
    Welcome,
    check_challenge,
    check_identify,
)
from bombyx.link.mux import Mux
from bombyx.link.open import parse_open
from bombyx.money.batch import Batch, root
from bombyx.money.channel.terms import (
    Voucher,
    check_new_channel,
    check_offered,
    check_refusal,
    decode_terms,
)
from bombyx.money.offer import SignedOffer, verify_offer
from bombyx.money.receipt import Receipt, verify_receipt
from bombyx.money.statement import Statement, check_arithmetic
from bombyx.settings import load_settings
from bombyx.signing import Kind, verify
from gateway.metering.ticket import TicketBox
from tests import factories
from tests.factories import GATEWAY, NOW, PAYER, hex_of, seed, worker
from tests.vectors.channel_vectors import CHANNEL

Read = Callable[[bytes], object]

A = worker("a")
"""The worker that all signed documents of the vectors are by."""
HEADER = factories.hashed_header([A, worker("b")])
NOTHING_ALLOWED = Policy(version=1, network="local")
URL = "wss://gateway.example/v1/link"
HELLO = Hello(v="bombyx-link/1", nonce=hex_of("nonce w"))


@dataclass(frozen=True, slots=True)
class Reader:
    """One reader of bytes; `also` is what it may raise besides a `BombyxError`."""

    name: str
    read: Read
    also: tuple[type[Exception], ...] = ()


def _document(kind: type[msgspec.Struct]) -> Read:
    return partial(_decode, kind=kind)


def _decode(data: bytes, kind: type[msgspec.Struct]) -> msgspec.Struct:
    document = canonical.decode(data, kind)
    if canonical.encode(document) != data:
        raise AssertionError("a document was taken that is not canonical")
    return document


def _receipt(data: bytes) -> None:
    verify_receipt(canonical.decode(data, Receipt), A.receipt.public_key)


def _statement(data: bytes) -> None:
    check_arithmetic(canonical.decode(data, Statement))


def _offer(data: bytes) -> None:
    verify_offer(canonical.decode(data, SignedOffer), A.link.public_key)


def _refusal(data: bytes) -> None:
    signed = canonical.decode(data, SignedRefusal)
    signature = bytes.fromhex(signed.signature)
    verify(Kind.REFUSAL, signed.refusal, signature, A.receipt.public_key)


def _lost(data: bytes) -> None:
    disposition = canonical.decode(data, Disposition)
    if isinstance(disposition.lost, Lost) and isinstance(disposition.lost_signature, str):
        signature = bytes.fromhex(disposition.lost_signature)
        verify(Kind.LOST, disposition.lost, signature, GATEWAY.public_key)


def _settle(data: bytes) -> bytes:
    settle = canonical.decode(data, Settle)
    signature = bytes.fromhex(settle.signature)
    verify(Kind.SETTLE, settle.batch, signature, A.receipt.public_key)
    return root([bytes.fromhex(leaf) for leaf in settle.leaves])


def _challenge(data: bytes) -> None:
    check_challenge(HELLO, canonical.decode(data, Challenge), dialled=URL)


def _identify(data: bytes) -> None:
    offered = Challenge(
        v="bombyx-link/1",
        gateway=GATEWAY.public_hex,
        url=URL,
        nonce=hex_of("nonce g"),
        slot=1,
        epoch=2,
        signature="00" * 64,
    )
    identify = canonical.decode(data, Identify)
    check_identify(HELLO, offered, identify, worker=A.id, link_key=A.link.public_key)


def _sealed_request(data: bytes) -> None:
    """What a gateway reads, then what worker `a` does with it."""
    head, frames = parse_request(data)
    keys = unwrap(head.wraps[0], A.sealing, worker=bytes.fromhex(A.id), h=head.header.h, c=head.c)
    check_auth(head.c, head.auth, bytes.fromhex(head.header.header.payer))
    open_frames(keys.dek, head.header.h, frames)


def _auth(data: bytes) -> None:
    check_auth(seed("c"), data, PAYER.public_key)


def _wrap(data: bytes) -> None:
    unwrap(data, A.sealing, worker=bytes.fromhex(A.id), h=HEADER.h, c=seed("c"))


def _session(data: bytes) -> None:
    info = session_info(bytes.fromhex(A.id), GATEWAY.public_key, seed("session id", 16))
    unwrap_session(A.sealing, data, info)


def pieces(data: bytes) -> Iterator[bytes]:
    """The bytes, torn at places that depend on them."""
    at = 0
    for size in hashlib.shake_128(data).digest(64):
        yield data[at : at + size]
        at += size
    yield data[at:]


def _response(data: bytes) -> None:
    opener = ResponseOpener(HEADER.h, {A.id: seed("rs 0"), worker("b").id: seed("rs 1")})
    for piece in pieces(data):
        opener.feed(piece)
    opener.finish()


def _walker(data: bytes) -> None:
    walker = ResponseWalker(HEADER.h)
    for piece in pieces(data):
        walker.feed(piece)
    walker.position()


def _frames(data: bytes) -> None:
    splitter = FrameSplitter()
    for piece in pieces(data):
        splitter.feed(piece)


def _link(data: bytes) -> None:
    Reassembler().split(data)
    mux = Mux()
    for piece in pieces(data):
        mux.receive(piece)
    while mux.next_message():
        pass


def _mux(data: bytes) -> None:
    mux = Mux()
    for _ in range(3):
        for frame in mux.receive(data):
            mux.consumed(frame.stream, len(frame.payload))
    while mux.next_message():
        pass


def _directory(data: bytes) -> None:
    directory = parse_directory(data, NOTHING_ALLOWED)
    for entry in directory.workers:
        for collateral in (None, *directory.collateral.values()):
            examine(entry.keyset, entry.evidence, collateral, policy=POLICY, now=NOW)


def _quote(data: bytes) -> None:
    parse_quote(data)


def _evidence(data: bytes) -> None:
    parse_quote(read_quote(canonical.decode(data, Evidence)))


def _policy(data: bytes) -> None:
    try:
        table = tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError):
        return  # what a file may hold: its shell names the file
    policy = parse_policy(table)
    if parse_policy(tomllib.loads(render_policy(policy))) != policy:
        raise AssertionError("a policy does not read back")
    policy_hash(policy)


def _sse(data: bytes) -> None:
    whole, torn = SseDecoder(max_event_bytes=4096), SseDecoder(max_event_bytes=4096)
    events = whole.feed(data)
    if events != [event for piece in pieces(data) for event in torn.feed(piece)]:
        raise AssertionError("a torn event stream reads otherwise than a whole one")
    whole.finish()


def _shaper(data: bytes) -> None:
    shaper = StreamShaper()
    for piece in pieces(data):
        shaper.feed(piece)
    shaper.done({"verified": True})


def _chat(data: bytes) -> None:
    body = parse_body(data)
    if parse_body(encode_body(body)) != body:
        raise AssertionError("a body changes when it is written again")
    max_input_bound(body, bytes_factor=1, overhead=64, max_image_tokens=1000)
    request_head(CHAT_PATH, body)
    admit(CHAT_PATH, body)


def _problem(data: bytes) -> None:
    read_problem(Head(422, (("content-type", PROBLEM_TYPE),)), data)
    gateway_error(Head(500, ()), data)


def _settings(data: bytes) -> None:
    from worker.settings import WorkerSettings  # noqa: PLC0415 - pydantic is slow to import

    text = data.decode("utf-8", "replace").replace("\0", "")
    names = ("PRICE_PROMPT", "GATEWAY", "PADDING", "SLOTS", "NO_SUCH")
    lines = iter(text.split("\n"))
    environ = {f"BOMBYX_WORKER_{name}": value for name, value in zip(names, lines, strict=False)}
    load_settings(WorkerSettings, "worker", environ={"HOME": "/nowhere", **environ})


def _ticket(data: bytes) -> None:
    TicketBox(seed("cluster")).open(data.decode("utf-8", "replace"))


def _voucher(data: bytes) -> None:
    check_offered(canonical.decode(data, Voucher), CHANNEL)


def _payment_terms(data: bytes) -> None:
    terms = decode_terms(data)
    known = frozenset({CHANNEL.config.gateway_key})
    check_new_channel(terms, network=CHANNEL.network, gateways=known, max_deposit=10**9)
    check_refusal(terms, CHANNEL, cost=300)


def _public_key(data: bytes) -> None:
    decode_public_key(data.decode("utf-8", "replace"))


def _policy_of(simulated: Any) -> Policy:
    return parse_policy(
        {"version": 1, "network": "local", "platforms": ["simulated"], "simulated": simulated}
    )


POLICY = _policy_of({"roots": ["00" * 32], "mr_td": ["00" * 48], "accepted_tcb": ["UpToDate"]})

_ALL = (
    Reader("header", parse_header),
    Reader("sealed_request", _sealed_request),
    Reader("request_frames", lambda data: open_frames(seed("dek"), HEADER.h, data)),
    Reader("plaintext", unpack),
    Reader("wrap", _wrap),
    Reader("auth", _auth),
    Reader("session_wrap", _session),
    Reader("public_key", _public_key),
    Reader("frames", _frames),
    Reader("response", _response),
    Reader("walker", _walker),
    Reader("response_head", _document(ResponseHead)),
    Reader("stream_end", _document(StreamEnd)),
    Reader("relay_note", _document(RelayNote)),
    Reader("keyset", _document(Keyset)),
    Reader("evidence", _evidence),
    Reader("collateral", _document(Collateral)),
    Reader("directory", _directory),
    Reader("quote", _quote),
    Reader("certificates", split_certificates, also=(ValueError,)),
    Reader("policy", _policy),
    Reader("statement", _statement),
    Reader("receipt", _receipt),
    Reader("batch", _document(Batch)),
    Reader("offer", _offer),
    Reader("link_message", _link),
    Reader("mux", _mux),
    Reader("open", parse_open),
    Reader("hello", _document(Hello)),
    Reader("challenge", _challenge),
    Reader("identify", _identify),
    Reader("welcome", _document(Welcome)),
    Reader("refusal", _refusal),
    Reader("settle", _settle),
    Reader("ticket", _ticket),
    Reader("ack", _document(Ack)),
    Reader("disposition", _lost),
    Reader("status", _document(WorkerStatus)),
    Reader("session_start", _document(SessionStart)),
    Reader("goaway", _document(Goaway)),
    Reader("sse", _sse),
    Reader("answer_stream", _shaper),
    Reader("chat_body", _chat),
    Reader("worker_error", _error_object),
    Reader("problem", _problem),
    Reader("settings", _settings),
    Reader("voucher", _voucher),
    Reader("payment_terms", _payment_terms),
)
READERS = {reader.name: reader for reader in _ALL}
