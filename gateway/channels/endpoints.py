"""`/v1/channels`: terms, registration, state and end of the caller's channels (SPEC 7.10)."""

import re

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response

from bombyx.errors import NotFound, RequestError
from bombyx.money.channel.documents import (
    MAX_REGISTRATION_BYTES,
    ChannelList,
    Registration,
    view_of,
)
from gateway.channels.counter import Counter
from gateway.channels.repository import Channels
from gateway.channels.rows import StoredChannel
from gateway.context import Context, unix_seconds
from gateway.http import ContextDep, KeyDep

router = APIRouter(prefix="/v1/channels", tags=["channels"])

_ID = re.compile(r"[0-9a-f]{64}")
_registrations = msgspec.json.Decoder(Registration)
_SCHEMA = msgspec.json.schema(Registration)["$defs"]["Registration"]
_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": _SCHEMA}}}}


def _counter(context: Context) -> Counter:
    if context.counter is None:
        raise NotFound("this gateway takes no payment channels")
    return context.counter


def _answer(document: object) -> Response:
    return Response(msgspec.json.encode(document, order="sorted"), media_type="application/json")


def _view(stored: StoredChannel) -> Response:
    channel = stored.channel
    return _answer(view_of(channel.network, channel.account, stored.row))


def _known(channel: str) -> str:
    if _ID.fullmatch(channel) is None:
        raise NotFound("there is no such channel")
    return channel


@router.get("/terms", response_class=Response)
async def terms(context: ContextDep, _key: KeyDep) -> Response:
    """What a new channel must be, in the form of a 402's terms."""
    return _answer(_counter(context).cashier.terms("payment_required"))


@router.post("", response_class=Response, openapi_extra=_BODY)
async def register(request: Request, context: ContextDep, key: KeyDep) -> Response:
    """Register a channel of the caller's, or look at the chain again for one that is."""
    counter, body = _counter(context), await request.body()
    if len(body) > MAX_REGISTRATION_BYTES:
        raise RequestError(f"a registration has at most {MAX_REGISTRATION_BYTES} bytes")
    try:
        registration = _registrations.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise RequestError("the body is no registration of a channel") from None
    return _view(await counter.register(registration, key.account, now=unix_seconds()))


@router.get("", response_class=Response)
async def mine(context: ContextDep, key: KeyDep) -> Response:
    """The account's channels, the newest first."""
    _counter(context)
    stored = await Channels(context.engine).of_account(key.account)
    views = [view_of(one.channel.network, one.channel.account, one.row) for one in stored]
    return _answer(ChannelList(object="list", data=views))


@router.get("/{channel}", response_class=Response)
async def one(channel: str, context: ContextDep, key: KeyDep) -> Response:
    """How a channel stands in the gateway's books."""
    return _view(await _counter(context).owned(_known(channel), key.account))


@router.post("/{channel}/close", response_class=Response)
async def close(channel: str, context: ContextDep, key: KeyDep) -> Response:
    """Ask for an end that both sign; 409 `close_in_flight` while requests of it run."""
    counter = _counter(context)
    return _answer(await counter.close(_known(channel), key.account, now=unix_seconds()))
