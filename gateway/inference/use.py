"""Whether a key may make a request now; keys without limits pass for one comparison (SPEC 5.7)."""

from bombyx.errors import Forbidden
from gateway.context import Context
from gateway.inference.exchange import Exchange
from gateway.metering.rows import StoredKey


async def begin_use(context: Context, key: StoredKey, model: str, exchange: Exchange) -> None:
    """Once per request, before it waits for anything; who calls it calls `end_use` at the end.

    Raises `Forbidden` for a model that the key may not name, `RateLimited`, `InsufficientQuota`.
    """
    exchange.key = key.id
    limits = key.limits
    if limits is None:
        return
    if limits.models is not None and model not in limits.models:
        raise Forbidden("this key may not use this model", param="model")
    exchange.ration = context.meter.rations.of(key.id, limits)
    exchange.entry = await context.meter.rations.enter(exchange.ration)


def end_use(exchange: Exchange) -> None:
    """The request is over."""
    if exchange.entry is not None:
        exchange.entry.leave()
