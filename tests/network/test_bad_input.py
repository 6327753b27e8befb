"""Whatever is wrong with a request has a status and a code, and costs nothing."""

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest

from bombyx.envelope.request import SealedRequest
from gateway.accounts.repository import Accounts
from gateway.inference import exchange
from tests.network.harness import CREDIT, MODEL, Network
from tests.network.requests import (
    CHAT,
    SEALED,
    bearer,
    body,
    directory,
    error_of,
    http,
    now,
    payer_of,
    post,
    seal,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

Spoil = Callable[[SealedRequest], bytes]


def spliced(raw: bytes) -> Spoil:
    """The request with another header, by its bytes."""

    def spoil(request: SealedRequest) -> bytes:
        encoded, size = request.encode(), len(request.header.raw)
        return struct.pack(">I", len(raw)) + raw + encoded[4 + size :]

    return spoil


def edited(edit: Callable[[str], str]) -> Spoil:
    return lambda request: spliced(edit(request.header.raw.decode()).encode())(request)


def field(name: str, value: Any) -> Spoil:
    """The request whose header says something else, still canonical."""

    def edit(text: str) -> str:
        document = {**json.loads(text), name: value}
        if value is None:
            del document[name]
        return json.dumps(document, sort_keys=True, separators=(",", ":"))

    return edited(edit)


def frames(change: Callable[[bytes], bytes]) -> Spoil:
    def spoil(request: SealedRequest) -> bytes:
        encoded = request.encode()
        at = len(encoded) - len(request.frames)
        return encoded[:at] + change(encoded[at:])

    return spoil


def cut(size: int) -> Spoil:
    return lambda request: request.encode()[:size]


HEADERS: dict[str, Spoil] = {
    "not_json": spliced(b"{"),
    "empty": spliced(b""),
    "not_utf8": spliced(b'{"v":"\xff"}'),
    "white_space": edited(lambda text: text.replace(",", ", ", 1)),
    "order": edited(lambda text: text[:-1] + ',"a":1}'),
    "duplicate_key": edited(lambda text: text.replace('"v":', '"v":"bombyx/1","v":')),
    "escape": edited(lambda text: text.replace("POST", "\\u0050OST")),
    "float": edited(lambda text: text.replace('"fee_bps":500', '"fee_bps":500.0')),
    "too_long": spliced(b" " * (16 * 2**10 + 1)),
    "unknown_key": field("zzz", 1),
    "v": field("v", "bombyx/2"),
    "id": field("id", "xyz"),
    "gateway": field("gateway", "AB" * 32),
    "method": field("method", "GET"),
    "path": field("path", "/v1/completions"),
    "path_form": field("path", "../etc"),
    "model": field("model", "two words"),
    "stream": field("stream", 1),
    "tier": field("tier", "bare"),
    "tier_form": field("tier", "gold"),
    "payer": field("payer", "00"),
    "issued_at": field("issued_at", -1),
    "issued_at_text": field("issued_at", "now"),
    "max_input_tokens": field("max_input_tokens", 2**53),
    "max_output_tokens": field("max_output_tokens", 0),
    "max_cost_nano": field("max_cost_nano", 5),
    "max_cost_zeros": field("max_cost_nano", "05"),
    "max_cost_long": field("max_cost_nano", "9" * 19),
    "fee_bps": field("fee_bps", 10_001),
    "no_candidates": field("candidates", []),
    "channel": field("channel", "a b"),
    "cache_shard": field("cache_shard", "a b"),
    "missing": field("payer", None),
}
REQUESTS: dict[str, tuple[Spoil, int, str]] = {
    **{name: (spoil, 400, "malformed_header") for name, spoil in HEADERS.items()},
    "wrong_gateway": (field("gateway", "ab" * 32), 400, "wrong_gateway"),
    "wrong_fee": (field("fee_bps", 0), 422, "wrong_fee"),
    "clock_behind": (field("issued_at", now() - 4000), 400, "clock_skew"),
    "clock_ahead": (field("issued_at", now() + 4000), 400, "clock_ahead"),
    "nothing": (cut(0), 400, "malformed_sealed_request"),
    "three_bytes": (cut(3), 400, "malformed_sealed_request"),
    "half_a_header": (cut(200), 400, "malformed_sealed_request"),
    "no_wraps": (
        lambda request: request.encode()[: 4 + len(request.header.raw) + 97],
        400,
        "malformed_sealed_request",
    ),
    "no_frames": (frames(lambda _: b""), 400, "malformed_sealed_request"),
    "one_wrap_more": (
        lambda request: (
            request.encode()[: 4 + len(request.header.raw) + 96]
            + bytes([len(request.wraps) + 1])
            + request.encode()[4 + len(request.header.raw) + 97 :]
        ),
        400,
        "malformed_sealed_request",
    ),
    # What the gateway cannot see: the workers refuse it, signed, and nothing is charged.
    "torn_frame": (frames(lambda data: data[:-1]), 422, "no_candidate"),
    "flagged_frame": (frames(lambda data: data[:1] + b"\2" + data[2:]), 422, "no_candidate"),
    "other_auth": (
        lambda request: request.encode().replace(request.auth, request.auth[::-1]),
        422,
        "no_candidate",
    ),
    "other_wraps": (
        lambda request: request.encode().replace(request.wraps[0][:64], bytes(64)),
        422,
        "no_candidate",
    ),
    "other_commitment": (
        lambda request: request.encode().replace(request.c, request.c[::-1]),
        422,
        "no_candidate",
    ),
}


@pytest.mark.spec("2.1-c", "2.1-d", "4-i")
@pytest.mark.parametrize("name", REQUESTS)
async def test_a_wrong_sealed_request_is_named_and_free(shared: Network, name: str) -> None:
    spoil, status, code = REQUESTS[name]
    listed = await directory(shared)
    before = await shared.balance()
    request = seal(shared, listed.workers[:1], body("say: no"))
    answer = await post(shared, spoil(request))
    assert error_of(answer) == (status, code), answer.text
    assert answer.headers["x-should-retry"] == "false"
    await shared.settled()
    assert await shared.balance() == before


async def test_a_worker_twice_among_the_candidates_is_malformed(shared: Network) -> None:
    entry = (await directory(shared)).workers[0]
    answer = await post(shared, seal(shared, [entry, entry], body("say: no")).encode())
    assert error_of(answer) == (400, "malformed_header")


def raw_json(document: Any) -> bytes:
    return json.dumps(document).encode()


DEEP = b'{"model":"scripted","messages":' + b"[" * 100 + b"]" * 100 + b"}"
BARE: dict[str, tuple[bytes, int, str, str | None]] = {
    "empty": (b"", 400, "invalid_json", None),
    "torn": (b'{"model":', 400, "invalid_json", None),
    "array": (b"[]", 400, "invalid_json", None),
    "not_utf8": (b'{"model":"\xff\xfe"}', 400, "invalid_json", None),
    "utf16": ('{"model":"scripted"}'.encode("utf-16"), 400, "invalid_json", None),
    "duplicate": (b'{"model":"a","model":"b"}', 400, "invalid_json", None),
    "nan": (b'{"model":"scripted","temperature":NaN}', 400, "invalid_json", None),
    "infinity": (b'{"model":"scripted","temperature":1e999}', 400, "invalid_json", None),
    "surrogate": (b'{"model":"scripted","user":"\\ud800"}', 400, "invalid_json", None),
    "deep": (DEEP, 400, "invalid_json", None),
    "very_deep": (b"[" * 100_000, 400, "invalid_json", None),
    "big_integer": (b'{"model":"scripted","seed":' + b"9" * 400 + b"}", 400, "invalid_json", None),
    "no_model": (raw_json({"messages": []}), 400, "invalid_request", "model"),
    "no_messages": (raw_json({"model": MODEL}), 400, "invalid_request", "messages"),
    "unknown_parameter": (
        raw_json(body("hi", frobnicate=1)),
        400,
        "unsupported_parameter",
        "frobnicate",
    ),
    "wrong_value": (raw_json(body("hi", temperature=7)), 400, "invalid_request", "temperature"),
    "wrong_type": (raw_json(body("hi", stream="yes")), 400, "invalid_request", "stream"),
    "too_many_tokens": (
        raw_json(body("hi", max_tokens=2**53 // 16 - 1, n=16)),
        402,
        "insufficient_quota",
        None,
    ),
    "unknown_model": (
        raw_json({"model": "nobody", "messages": [{"role": "user", "content": "hi"}]}),
        404,
        "model_not_found",
        "model",
    ),
}


@pytest.mark.parametrize("name", BARE)
async def test_a_wrong_bare_request_is_named_and_free(shared: Network, name: str) -> None:
    content, status, code, param = BARE[name]
    before = await shared.balance()
    answer = await post(shared, content, media="Application/JSON; charset=utf-8")
    assert error_of(answer) == (status, code), answer.text
    assert answer.json()["error"]["param"] == param
    assert await shared.balance() == before


@pytest.mark.parametrize(
    "media", ["", "text/plain", "application/jsonx", "application/x-www-form-urlencoded"]
)
async def test_another_content_type_is_415(shared: Network, media: str) -> None:
    answer = await post(shared, b"{}", media=media)
    assert error_of(answer) == (415, "unsupported_media_type")


@pytest.mark.parametrize("media", [SEALED, "application/json"])
async def test_a_body_beyond_the_limit_is_413(shared: Network, media: str) -> None:
    for content in (bytes(2**20 + 1), bytes(8 * 2**20)):
        answer = await post(shared, content, media=media)
        assert error_of(answer) == (413, "request_too_large")
    assert shared.context.budget._free == shared.context.settings.buffered_requests_mb * 2**20


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
async def test_inference_takes_post_alone(shared: Network, method: str) -> None:
    async with http() as client:
        answer = await client.request(method, shared.url + CHAT, headers=bearer(shared.api_key))
    assert answer.status_code == 405
    if method != "HEAD":
        assert error_of(answer) == (405, "method_not_allowed")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "/v1", 404, "not_found"),
        ("POST", "/v1/chat/completions/", 404, "not_found"),
        ("POST", "/v1/moderations", 404, "not_found"),
        ("POST", "/v1/responses/resp_1", 404, "not_found"),
        ("GET", "/v1/confidential/workers/", 404, "not_found"),
        ("GET", "/docs", 404, "not_found"),
        ("GET", "/v1/workers/link/0", 404, "not_found"),
        ("POST", "/v1/models", 405, "method_not_allowed"),
        ("DELETE", "/v1/receipts/x", 405, "method_not_allowed"),
        ("PUT", "/healthz", 405, "method_not_allowed"),
        ("GET", "/v1/confidential/workers", 400, "invalid_request"),
        ("GET", "/v1/confidential/workers?model=" + "x" * 200, 400, "invalid_request"),
        ("GET", "/v1/receipts?c=xyz", 400, "invalid_request"),
        ("GET", "/v1/receipts", 400, "invalid_request"),
        ("GET", "/v1/receipts?c=" + "00" * 32, 404, "not_found"),
        ("GET", "/v1/receipts/%00", 404, "not_found"),
        ("GET", "/v1/receipts/" + "00" * 16, 404, "not_found"),
        ("GET", "/v1/models/nobody/at-all", 404, "model_not_found"),
    ],
)
async def test_every_other_path_answers_in_the_envelope(
    shared: Network, method: str, path: str, status: int, code: str
) -> None:
    async with http() as client:
        answer = await client.request(method, shared.url + path, headers=bearer(shared.api_key))
    assert error_of(answer) == (status, code), answer.text
    if status == 405:
        assert answer.headers["allow"]


async def test_answers_that_are_no_errors_name_themselves_too(shared: Network) -> None:
    async with http() as client:
        for path in ("/healthz", "/readyz", "/v1/models", f"/v1/models/{MODEL}", "/metrics"):
            answer = await client.get(shared.url + path, headers=bearer(shared.api_key))
            assert answer.status_code == 200
            assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.spec("18-a")
@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Basic abc", "Bearer bx_live_x", "x" * 9000]
)
@pytest.mark.parametrize("path", ["/v1/models", "/v1/receipts/x", CHAT, "/admin/v1/ledger"])
async def test_without_a_valid_key_nothing_answers(
    shared: Network, path: str, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    async with http() as client:
        answer = await client.request(
            "POST" if path == CHAT else "GET", shared.url + path, headers=headers
        )
    assert error_of(answer) == (401, "invalid_api_key")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_revoked_key_is_401(shared: Network) -> None:
    accounts = Accounts(shared.context.engine)
    record, key = await accounts.create_key(shared.account, name="short")
    await accounts.revoke_key(shared.account, record.id)
    answer = await post(shared, b"{}", key=key.secret, media="application/json")
    assert error_of(answer) == (401, "invalid_api_key")


@pytest.mark.parametrize("tier", ["sealed", "bare"])
async def test_an_account_without_money_is_402(shared: Network, tier: str) -> None:
    accounts = Accounts(shared.context.engine)
    poor = await accounts.create("poor")
    _, key = await accounts.create_key(poor.id, name="poor")
    if tier == "bare":
        answer = await post(shared, raw_json(body("hi")), key=key.secret, media="application/json")
    else:
        listed = await directory(shared)
        request = seal(shared, listed.workers, body("hi"), payer=payer_of(poor.id))
        answer = await post(shared, request.encode(), key=key.secret)
    assert error_of(answer) == (402, "insufficient_quota")
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.spec("2.7-b")
async def test_another_accounts_payer_key_is_403(shared: Network) -> None:
    listed = await directory(shared)
    assert (await post(shared, seal(shared, listed.workers, body("say: a")).encode())).is_success
    accounts = Accounts(shared.context.engine)
    other = await accounts.create("other")
    await accounts.credit(other.id, CREDIT, txn=f"seed-{other.id}")
    _, key = await accounts.create_key(other.id, name="other")
    answer = await post(shared, seal(shared, listed.workers, body("hi")).encode(), key=key.secret)
    assert error_of(answer) == (403, "forbidden")
    assert await accounts.balance(other.id) == CREDIT


async def test_a_body_that_never_ends_is_408(
    shared: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "BODY_TIMEOUT_SECONDS", 0.1)
    status, text = await _half_a_request(shared, b"x" * 10)
    assert status == 408
    assert json.loads(text)["error"]["code"] == "request_timeout"
    assert shared.context.budget._free == shared.context.settings.buffered_requests_mb * 2**20


async def test_a_client_that_leaves_within_its_body_is_no_error(shared: Network) -> None:
    reader, writer = await _begin(shared, b"x" * 10)
    await asyncio.sleep(0.05)
    writer.close()
    await writer.wait_closed()
    await asyncio.sleep(0.05)
    assert not shared.context.runs.open_runs()
    assert shared.context.budget._free == shared.context.settings.buffered_requests_mb * 2**20
    assert await reader.read() == b""


async def test_bodies_share_a_budget(shared: Network) -> None:
    free, shared.context.budget._free = shared.context.budget._free, 100
    try:
        answer = await post(shared, bytes(200), media="application/json")
        assert error_of(answer) == (503, "overloaded")
        assert answer.headers["retry-after-ms"] == "1000"
        assert answer.headers["retry-after"] == "1"
        assert shared.context.budget._free == 100
    finally:
        shared.context.budget._free = free


async def _begin(net: Network, part: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    url = httpx2.URL(net.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(
        f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n"
        f"content-type: application/json\r\nauthorization: Bearer {net.api_key}\r\n\r\n".encode()
        + part
    )
    await writer.drain()
    return reader, writer


async def _half_a_request(net: Network, part: bytes) -> tuple[int, bytes]:
    reader, writer = await _begin(net, part)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    text = await reader.readexactly(length)
    writer.close()
    return int(head.split()[1]), text


async def test_a_thousand_idle_connections_leave_room_for_work(shared: Network) -> None:
    url = httpx2.URL(shared.url)
    idle = []
    try:
        for _ in range(1000):
            sock = socket.create_connection((url.host, url.port or 0))
            idle.append(sock)
            if len(idle) % 50 == 0:
                await asyncio.sleep(0)
        answer = await shared.bare().chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "say: still here"}]
        )
        assert (answer.choices[0].message.content or "").strip() == "still here"
    finally:
        for sock in idle:
            sock.close()


async def _read_all(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "fault: lie_tokens\ncount: 50"}],
        max_tokens=100,
        stream=True,
    )
    async for _ in stream:
        pass


async def test_engine_that_lies_about_tokens_is_cut_and_never_overbilled(shared: Network) -> None:
    for client in (shared.sealed(), shared.bare()):
        before = await shared.balance()
        with pytest.raises(openai.APIError) as caught:
            await _read_all(client)
        assert caught.value.code == "engine_failed"
        await shared.settled()
        assert 0 <= before - await shared.balance() < 100 * 60 * 2
        assert await shared.context.store.billing_gap() == 0
