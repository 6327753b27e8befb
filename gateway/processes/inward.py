"""What a process answers its neighbours, below its own link's path (SPEC 10.6)."""

import msgspec

from gateway.context import Context, unix_seconds
from gateway.inference.exchange import header_of
from gateway.processes.hop import HOP_HEADER
from gateway.processes.neighbours import LINKS, Linked, LinkedWorker
from gateway.workers.endpoint import Scope, Send


def check_hop(context: Context, shown: bytes, path: str) -> None:
    """Raises `Unauthenticated` unless a process of this gateway asks this one, in this epoch."""
    context.hop.check(
        shown, path, slot=context.meter.slot, epoch=context.meter.epoch, now=unix_seconds()
    )


def linked(context: Context) -> Linked:
    """Who takes requests here, and for which offers."""
    now = unix_seconds()
    workers = [
        LinkedWorker(
            listed.worker,
            {
                model: quote.hash
                for model in listed.current
                if (quote := listed.live_quote(model, now)) is not None
            },
        )
        for listed in context.registry.all()
        if listed.is_shown(now)
    ]
    return Linked(context.meter.slot, context.meter.epoch, context.draining, workers)


async def serve_links(context: Context, scope: Scope, send: Send) -> None:
    """`GET LINK/links`; raises `Unauthenticated`."""
    check_hop(context, header_of(scope["headers"], HOP_HEADER), LINKS)
    body = msgspec.json.encode(linked(context))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
