"""Good bytes for each reader, to be broken: taken from the vectors, not stored a second time."""

import json
from functools import cache
from typing import Any

import msgspec

from bombyx import canonical
from bombyx.attestation.directory import Directory, Entry
from bombyx.attestation.policy import render_policy
from gateway.metering.ticket import Ticket, TicketBox
from tests import factories
from tests.bombyx.attestation import genuine, world
from tests.factories import GATEWAY, NOW, hex_of, seed, worker
from tests.vectors import make_vectors

_IMAGE = {"url": "data:image/png;base64,AA==", "detail": "low"}
_CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
_CHAT: tuple[dict[str, Any], ...] = (
    {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    {
        "model": "m",
        "stream": True,
        "stream_options": {"include_usage": True},
        "n": 2,
        "max_tokens": 9,
        "stop": ["a"],
        "seed": -1,
        "temperature": 0.5,
        "logit_bias": {"5": -1},
        "messages": [
            {
                "role": "user",
                "name": "me",
                "content": [
                    {"type": "text", "text": "x"},
                    {"type": "image_url", "image_url": _IMAGE},
                ],
            }
        ],
    },
    {
        "model": "m",
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {"type": "json_schema", "json_schema": {"schema": {}}},
        "chat_template_kwargs": {"thinking": True},
        "reasoning_effort": "low",
        "logprobs": True,
        "top_logprobs": 2,
        "messages": [
            {"role": "assistant", "tool_calls": [_CALL]},
            {"role": "tool", "tool_call_id": "1", "content": "2"},
        ],
    },
)
_SSE = (
    b'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: [DONE]\n\n',
    b'\xef\xbb\xbfevent: error\r\ndata: {"choices":[],"usage":{}}\r\n\r\n: note\rdata:x\rdata\r\r',
)
_PROBLEM = b'{"type":"about:blank","status":422,"code":"no_candidate","error":{"message":"none"}}'
_SETTINGS = (b'200\n["http://127.0.0.1:1"]\nbucket\n8\n', b"-1\n{}\nexact\nx\nunknown")


def _raw(text: str) -> bytes:
    return bytes.fromhex(text)


@cache
def seeds() -> dict[str, tuple[bytes, ...]]:
    """By reader; a reader that has none here is given those of every other."""
    good = make_vectors.build()
    request, response, link = good["request"], good["response"], good["link"]
    receipts = [entry["receipt"].encode() for entry in good["receipts"]["receipts"]]
    answers = tuple(
        _raw(response["salt"]) + b"".join(_raw(step["frame"]) for step in response[padding])
        for padding in ("bucket", "exact")
    )
    messages = tuple(_raw(entry["message"]) for entry in link["messages"])
    frames = {entry["name"]: _raw(entry["frame"]) for entry in link["frames"]}
    documents = {entry["name"]: _raw(entry["payload"]) for entry in link["frames"]}
    note = _raw(response["relay_note"])
    return {
        "header": (request["header"].encode(),),
        "sealed_request": (_raw(request["encoded"]),),
        "request_frames": (_raw(request["frames"]),),
        "wrap": tuple(_raw(entry["wrap"]) for entry in request["wraps"]),
        "session_wrap": (_raw(request["wraps"][0]["wrap"]),),
        "auth": (_raw(request["auth"]),),
        "plaintext": (_packed(request),),
        "frames": (*answers, note),
        "response": (*answers, answers[1] + note),
        "walker": answers,
        "response_head": (response["exact"][0]["payload"].encode(),),
        "stream_end": (b'{"bytes":9,"statement":"' + b"00" * 32 + b'"}',),
        "relay_note": (note[6:],),
        "keyset": (good["documents"]["keyset"].encode(),),
        "evidence": (canonical.encode(world.HONEST.evidence), _genuine_evidence()),
        "collateral": (canonical.encode(world.COLLATERAL),),
        "directory": (_directory(),),
        "quote": (genuine.QUOTE, world.PLATFORM.quote(world.body())),
        "certificates": (world.COLLATERAL.tcb_info_issuer_chain.encode(),),
        "policy": (render_policy(world.POLICY).encode(),),
        "statement": tuple(_statement(raw) for raw in receipts),
        "receipt": tuple(receipts),
        "batch": (good["receipts"]["batch"].encode(),),
        "public_key": (json.loads(good["documents"]["keyset"])["hpke"][0]["pk"].encode(),),
        "link_message": (*messages, *frames.values()),
        "mux": (*messages, *frames.values()),
        "open": tuple(_raw(one) for one in link["open"].values()),
        "offer": (documents["offer"],),
        "session_start": (documents["session"],),
        "disposition": _dispositions(documents["ack"]),
        "sse": _SSE,
        "answer_stream": _SSE,
        "chat_body": tuple(msgspec.json.encode(body) for body in _CHAT),
        "worker_error": (b'{"error":{"message":"m","code":"c"}}', b'{"message":"m"}'),
        "problem": (_PROBLEM, _refused(documents["refusal"])),
        "settings": _SETTINGS,
        "voucher": tuple(one["document"].encode() for one in good["channel"]["vouchers"]),
        "payment_terms": tuple(one.encode() for one in good["channel"]["terms"].values()),
        "ticket": (_ticket(),),
        **{
            name: (documents[name],)
            for name in (
                *("hello", "challenge", "identify", "welcome", "refusal"),
                *("settle", "ack", "status", "goaway"),
            )
        },
    }


def _packed(request: dict[str, Any]) -> bytes:
    head, body = request["plaintext_head"].encode(), request["body"].encode()
    packed = len(head).to_bytes(4) + head + len(body).to_bytes(4) + body
    return bytes(packed.ljust(1024, b"\0"))


def _statement(receipt: bytes) -> bytes:
    document: dict[str, Any] = msgspec.json.decode(receipt)
    return canonical.encode(document["statement"])


def _dispositions(ack: bytes) -> tuple[bytes, ...]:
    document: dict[str, Any] = msgspec.json.decode(ack)
    return tuple(canonical.encode(one) for one in document["dispositions"])


def _refused(refusal: bytes) -> bytes:
    return _PROBLEM[:-1] + b',"refusals":[' + refusal + b"]}"


def _ticket() -> bytes:
    ticket = Ticket("alice", "100", hex_of("c"), deadline=NOW, attempt=1)
    return TicketBox(seed("cluster")).seal(ticket, seed("nonce", 12)).encode()


def _genuine_evidence() -> bytes:
    return canonical.encode(world.evidence_of(genuine.QUOTE, genuine.COLLATERAL, platform="tdx"))


def _directory() -> bytes:
    honest = world.HONEST
    named = str(honest.evidence.collateral)
    directory = Directory(
        gateway=GATEWAY.public_hex,
        fee_bps=250,
        default_max_output_tokens=4096,
        deadline_s=1500,
        now=NOW,
        workers=[
            Entry(
                keyset=honest.keyset,
                evidence=honest.evidence,
                offers=[factories.signed_offer(worker("a"))],
            )
        ],
        collateral={named: world.COLLATERAL},
    )
    return canonical.encode(directory)
