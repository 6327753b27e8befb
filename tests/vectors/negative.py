"""Bytes that every implementation must refuse, made from the good ones by one change each.

A case names its reader (`tests/fuzz/readers.py` has all of them), the rule of SPEC.md that refuses
it, and the code with which this implementation does.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

from bombyx import canonical
from bombyx.envelope.frames import FINAL, FrameType, aad, encode_frame
from bombyx.envelope.keys import FrameCipher
from bombyx.envelope.request import seal_frames
from bombyx.errors import BombyxError
from bombyx.link.frames import LinkType, encode_link_frame
from tests import factories
from tests.factories import GATEWAY, seed, worker

Sections = dict[str, Any]
Case = tuple[str, str, str, bytes]
"""Reader, what is wrong, anchor of the rule, bytes."""


def cases(good: Sections) -> dict[str, Any]:
    """All cases with the code of their refusal."""
    from tests.fuzz.readers import READERS  # noqa: PLC0415 - readers are many imports

    made = [
        {
            "reader": reader,
            "case": case,
            "section": section,
            "input": data.hex(),
            "code": refusal(READERS[reader].read, data),
        }
        for reader, case, section, data in _all(good)
    ]
    return {"cases": made}


def refusal(read: Callable[[bytes], object], data: bytes) -> str:
    """The code with which a reader refuses; raises `ValueError` if it does not."""
    try:
        read(data)
    except BombyxError as error:
        return error.code
    raise ValueError("a negative vector is read without complaint")


def _all(good: Sections) -> Iterator[Case]:
    yield from _spellings("header", good["request"]["header"])
    yield from _headers(good["request"]["header"])
    yield from _requests(good["request"])
    yield from _wraps(good["request"])
    yield from _responses(good["response"])
    for reader, section, name in (
        ("keyset", "documents", "keyset"),
        ("statement", "receipts", "statement"),
        ("batch", "receipts", "batch"),
        ("hello", "link", "hello"),
    ):
        yield from _spellings(reader, _document(good, section, name))
    yield from _signed(good)
    yield from _links(good["link"])


def _document(good: Sections, section: str, name: str) -> str:
    if name == "statement":
        return json.dumps(
            json.loads(good["receipts"]["receipts"][0]["receipt"])["statement"],
            separators=(",", ":"),
            ensure_ascii=False,
        )
    text: str = good[section][name]
    return text


def _spellings(reader: str, text: str) -> Iterator[Case]:
    """The same document in other words: SPEC 1.6 knows one spelling."""
    fields = json.loads(text)
    first, value = next(iter(sorted(fields.items())))
    pair = canonical.encode({first: value}).decode()[1:-1]
    backwards = dict(sorted(fields.items(), reverse=True))
    for case, other in {
        "white space": text.replace(":", ": ", 1),
        "keys in another order": json.dumps(backwards, separators=(",", ":")),
        "a key twice": "{" + pair + "," + text[1:],
        "an unknown key": text[:-1] + ',"zz":1}',
        "a null": text[:-1] + ',"zz":null}',
        "a field left out": canonical.encode(
            {name: one for name, one in fields.items() if name != first}
        ).decode(),
        "an escape that is not needed": text.replace('"v"', '"\\u0076"', 1)
        if '"v"' in text
        else text.replace('"boot"', '"\\u0062oot"', 1),
        "bytes behind it": text + "\n",
        "cut off": text[:-1],
    }.items():
        yield reader, case, "1.6-a", other.encode()
    yield reader, "not UTF-8", "1.6-a", text.encode().replace(b'":"', b'":"\xff', 1)


def _headers(text: str) -> Iterator[Case]:
    fields = json.loads(text)
    one = fields["candidates"][0]
    for case, section, changes in (
        ("a worker twice", "2.1-b", {"candidates": [one, one]}),
        ("no candidate", "2.1-b", {"candidates": []}),
        ("nine candidates", "2.1-b", {"candidates": [one] * 9}),
        ("another version", "20-a", {"v": "bombyx/2"}),
        ("a float", "1.6-a", {"issued_at": 1.5}),
        ("a negative count", "1.6-b", {"max_input_tokens": -1}),
        ("no output", "1.6-b", {"max_output_tokens": 0}),
        ("an amount with a leading zero", "1.6-b", {"max_cost_nano": "020000"}),
        ("an amount of 19 digits", "1.6-b", {"max_cost_nano": "9" * 19}),
        ("an amount as a number", "1.6-b", {"max_cost_nano": 20000}),
        ("an amount of two numbers", "1.6-b", {"max_cost_nano": "1,2"}),
        ("an amount with a sign", "1.6-b", {"max_cost_nano": "+1"}),
        ("an amount with a space", "1.6-b", {"max_cost_nano": "1 "}),
        ("an empty amount", "1.6-b", {"max_cost_nano": ""}),
        ("an amount in other digits", "1.6-b", {"max_cost_nano": "\u0661"}),
        ("an id with a space", "1.6-b", {"id": fields["id"][:30] + " 0"}),
        ("an id of 31 digits", "1.6-b", {"id": fields["id"][1:]}),
        ("digests that lend each other a digit", "1.6-b", _lent(fields)),
        ("a fee above the whole", "1.6-b", {"fee_bps": 10_001}),
        ("an id in capitals", "1.6-b", {"id": fields["id"].upper()}),
        ("another method", "1.6-b", {"method": "GET"}),
        ("a name with a space", "1.6-b", {"model": "two words"}),
        ("another tier", "1.6-b", {"tier": "clear"}),
    ):
        yield "header", case, section, _dumps({**fields, **changes})
    yield "header", "an integer beyond 2^53 - 1", "1.6-a", _dumps({**fields, "issued_at": 2**53})
    yield "header", "longer than 16 KiB", "2.1-a", b" " * (16 * 2**10 + 1)


def _lent(fields: dict[str, Any]) -> dict[str, str]:
    """One digit too few here and one too many there: right only when taken together."""
    return {"gateway": fields["gateway"][1:], "payer": fields["payer"] + "0"}


def _dumps(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _requests(good: Sections) -> Iterator[Case]:
    data = bytes.fromhex(good["encoded"])
    count_at = 4 + len(good["header"]) + 32 + 64
    read = "sealed_request"
    yield read, "nothing", "2.8-a", b""
    yield read, "cut within the wraps", "2.8-a", data[: count_at + 100]
    yield read, "without frames", "2.8-a", data[: count_at + 1 + 2 * 1200]
    yield read, "another number of wraps", "2.8-a", _flip(data, count_at)
    yield read, "a header longer than the bytes", "2.8-a", b"\xff" + data[1:]
    yield read, "a changed commitment", "2.9-c", _flip(data, 4 + len(good["header"]))
    yield read, "a changed wrap", "2.9-c", _flip(data, count_at + 1)
    yield read, "a changed signature", "2.7-a", _flip(data, 4 + len(good["header"]) + 32)
    yield read, "a changed last byte", "2.9-e", _flip(data, len(data) - 1)
    yield read, "bytes behind it", "2.8-b", data + b"\0"
    yield from _request_frames(good)


def _request_frames(good: Sections) -> Iterator[Case]:
    h, dek = bytes.fromhex(good["h"]), bytes.fromhex(good["dek"])
    frames = bytes.fromhex(good["frames"])
    read = "request_frames"
    yield read, "nothing", "2.8-b", b""
    yield read, "cut off", "2.8-b", frames[:-1]
    yield read, "not marked as the last", "2.8-b", bytes([frames[0], 0]) + frames[2:]
    yield read, "another type", "2.8-b", bytes([1]) + frames[1:]
    yield read, "a type that does not exist", "3.1-b", bytes([6]) + frames[1:]
    yield read, "an unknown flag", "2.8-b", bytes([0, 3]) + frames[2:]
    yield read, "the frame twice", "2.8-b", frames + frames
    yield read, "another header's frames", "2.9-e", seal_frames(dek, seed("h"), bytes(1024))
    yield read, "a short frame before the last", "2.8-b", _two_frames(dek, h)
    yield read, "padding that is not zero", "2.2-b", seal_frames(dek, h, _padded(good, b"\x01"))
    yield read, "too large a bucket", "2.2-b", seal_frames(dek, h, _padded(good, bytes(1025)))
    yield read, "no bucket at all", "2.2-b", seal_frames(dek, h, _padded(good, b"")[:-1])
    yield read, "lengths beyond the end", "2.2-b", seal_frames(dek, h, b"\xff" * 1024)


def _padded(good: Sections, end: bytes) -> bytes:
    head, body = good["plaintext_head"].encode(), good["body"].encode()
    packed = len(head).to_bytes(4) + head + len(body).to_bytes(4) + body
    return bytes(packed.ljust(1024 - (len(end) == 1), b"\0")) + end


def _two_frames(dek: bytes, h: bytes) -> bytes:
    cipher = FrameCipher(dek)
    return b"".join(
        encode_frame(0, flags, cipher.seal(seq, bytes(512), aad(h, seq, FrameType.DATA, flags)))
        for seq, flags in ((0, 0), (1, FINAL))
    )


def _wraps(good: Sections) -> Iterator[Case]:
    wrap = bytes.fromhex(good["wraps"][0]["wrap"])
    yield "wrap", "made for another commitment", "2.9-c", wrap
    yield "wrap", "made for another worker", "2.9-c", bytes.fromhex(good["wraps"][1]["wrap"])
    yield "wrap", "too short", "2.9-c", wrap[:-1]
    yield "wrap", "too long", "2.9-c", wrap + b"\0"
    yield "wrap", "an X25519 key of zeros", "2.9-c", wrap[:1088] + bytes(32) + wrap[1120:]


def _responses(good: Sections) -> Iterator[Case]:
    salt = bytes.fromhex(good["salt"])
    steps = [bytes.fromhex(step["frame"]) for step in good["exact"]]
    head, data, usage, padding, error, final, end = steps
    note = bytes.fromhex(good["relay_note"])
    for case, section, frames in (
        ("nothing", "3.2-b", []),
        ("no end", "3.2-b", steps[:-1]),
        ("no head", "3.1-c", steps[1:]),
        ("two heads", "3.1-c", [head, head]),
        ("data twice", "3.3-a", [head, data, data]),
        ("data left out", "3.3-a", [head, usage, padding]),
        ("frames in another order", "3.3-a", [head, usage, data]),
        ("a usage frame left out", "3.3-b", [head, data, padding, error, final, end]),
        ("a usage frame changed", "3.3-b", [head, data, _flip(usage, 10), padding]),
        ("a usage frame moved", "3.3-b", [head, usage, data, padding]),
        ("a usage frame invented", "3.3-b", [head, usage, data]),
        ("bytes after the end", "3.6-b", [*steps, b"\0"]),
        ("a frame after the end", "3.6-b", [*steps, padding]),
        ("the final mark on data", "3.2-a", [head, data[:1] + b"\x01" + data[2:]]),
        ("an end without the final mark", "3.2-a", [*steps[:-1], end[:1] + b"\0" + end[2:]]),
        ("a final mark on a usage frame", "3.2-a", [head, data, usage[:1] + b"\x01" + usage[2:]]),
        ("a type that does not exist", "3.1-b", [head, b"\x06" + data[1:]]),
        ("a frame too long", "3.6-a", [head, b"\0\0\0\x10\0\x01"]),
        ("a usage frame too long", "3.6-a", [head, b"\x02\0\0\0\x20\x01"]),
        ("a relay note", "3.5-b", [head, data, note]),
        ("a relay note that is none", "3.5-a", [head, data, note[:-1] + b"]"]),
        ("the other candidate's head", "3.8-a", [_flip(head, 8)]),
    ):
        yield "response", case, section, salt + b"".join(frames)
    yield "response", "another salt", "3.8-a", _flip(salt, 0) + b"".join(steps)


def _signed(good: Sections) -> Iterator[Case]:
    """Receipts, offers and refusals that say something else than was signed."""
    for number, entry in enumerate(good["receipts"]["receipts"][:2]):
        for case, old, new in (
            ("another charge", '"charge_nano":"', '"charge_nano":"1'),
            ("more tokens", '"completion":50', '"completion":51'),
            ("another place in its batch", f'"n":{number}', '"n":63'),
            ("another batch", '"count":3', '"count":4'),
            ("a charge of two numbers", '"charge_nano":"', '"charge_nano":"1,'),
            ("another status", '"status":"final"', '"status":"aborted"'),
        ):
            yield "receipt", f"{case} ({number})", "1.5-c", _replaced(entry["receipt"], old, new)
    other = factories.receipts([factories.statement(worker("a"))], worker("b").receipt)[0]
    yield "receipt", "another worker's signature", "1.5-c", canonical.encode(other)
    wrong = factories.receipt(worker("a"), amount_nano="1", fee_nano="1", charge_nano="2")
    yield "receipt", "amounts that do not follow", "1.4-a", canonical.encode(wrong)
    offer = factories.signed_offer(worker("a"))
    raw = canonical.encode(offer).decode()
    cheaper = raw.replace('"completion":"800000"', '"completion":"8"')
    yield "offer", "another price", "1.1-a", cheaper.encode()
    yield "offer", "another worker's offer", "1.1-a", _offer_of("b")
    refused = canonical.encode(factories.refusal(worker("a"))).decode()
    for case, old, new in (
        ("another code", '"code":"busy"', '"code":"replayed"'),
        ("another fault", '"fault":"worker"', '"fault":"client"'),
    ):
        yield "refusal", case, "1.1-a", refused.replace(old, new).encode()
    small_order = '"signature":"' + "00" * 64 + '"'
    yield "refusal", "a signature of zeros", "1.1-b", _resigned(refused, small_order)
    challenge = good["link"]["challenge"]
    yield (
        "challenge",
        "another slot is not signed, another URL is",
        "10.3-a",
        _replaced(challenge, "wss://gateway.example", "wss://gateway.evil"),
    )
    yield (
        "challenge",
        "another gateway",
        "10.3-a",
        _replaced(challenge, GATEWAY.public_hex, worker("a").link.public_hex),
    )


def _offer_of(name: str) -> bytes:
    return canonical.encode(factories.signed_offer(worker(name)))


def _replaced(text: str, old: str, new: str) -> bytes:
    if old not in text:
        raise ValueError(f"{old} is not in the document")
    return text.replace(old, new).encode()


def _resigned(text: str, signature: str) -> bytes:
    at = text.index('"signature":"')
    return (text[:at] + signature + text[at + len('"signature":"') + 128 + 1 :]).encode()


def _links(good: Sections) -> Iterator[Case]:
    ping = encode_link_frame(LinkType.PING, 0, bytes(8))
    read = "link_message"
    yield read, "a torn head", "10.1-a", ping[:5]
    yield read, "a torn payload", "10.1-a", ping[:-1]
    yield read, "a type that does not exist", "10.1-b", encode_link_frame(21, 0, b"")
    yield read, "type 0", "10.1-b", encode_link_frame(0, 0, b"")
    yield read, "a stream's frame that goes on", "10.1-c", encode_link_frame(0x86, 7, b"")
    yield read, "a payload of more than 24 KiB", "10.1-a", b"\x06\0\0\0\1" + (24577).to_bytes(4)
    yield "mux", "stream 0 opened", "10.1-d", encode_link_frame(LinkType.OPEN, 0, b"")
    opened = encode_link_frame(LinkType.OPEN, 1, b"")
    yield "mux", "a stream opened twice", "10.1-d", opened + opened
    yield "mux", "a credit of three bytes", "10.2-c", encode_link_frame(LinkType.CREDIT, 1, b"abc")
    for name, raw in good["open"].items():
        data = bytes.fromhex(raw)
        yield "open", f"{name}: cut off", "10.4-a", data[:-1]
        yield "open", f"{name}: bytes behind it", "10.4-a", data + b"\0"
        yield "open", f"{name}: another kind", "10.4-a", bytes([data[0] ^ 1]) + data[1:]
        yield "open", f"{name}: kind 2", "10.4-a", b"\x02" + data[1:]
        yield "open", f"{name}: a ticket too long", "10.4-a", data[:9] + b"\x02\x01" + data[11:]
