"""What a key may use, as administrators set it; requests are held to it by `gateway.metering`.

NULL is no limit; a key without a row has none at all.
"""

from collections.abc import Sequence
from dataclasses import asdict, fields

import msgspec
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bombyx.errors import NotFound, RequestError
from bombyx.units import MAX_NANO
from gateway.accounts.audit import record
from gateway.metering.rows import KeyLimits
from gateway.models import api_key, key_limit

MAX_MODELS = 256
MAX_NAME = 128


def check_limits(limits: KeyLimits) -> None:
    """Raises `RequestError` for what no limit can be."""
    for each in fields(limits):
        value = getattr(limits, each.name)
        if each.name != "models" and value is not None and not 0 <= value <= MAX_NANO:
            raise RequestError("a limit is a whole number, 0 or more", param=each.name)
    models = limits.models or ()
    if len(models) > MAX_MODELS or any(not 0 < len(name) <= MAX_NAME for name in models):
        raise RequestError("a list of models holds at most 256 names", param="models")


async def read_limits(engine: AsyncEngine, keys: Sequence[str]) -> dict[str, KeyLimits]:
    """The limits of keys; those without are absent."""
    columns = key_limit.c
    query = select(
        columns.key, columns.requests, columns.tokens, columns.slots, columns.nano, columns.models
    ).where(columns.key.in_(keys))
    async with engine.connect() as connection:
        rows = list(await connection.execute(query))
    return {row[0]: KeyLimits.of(row[1:]) for row in rows}


async def write_limits(engine: AsyncEngine, key: str, limits: KeyLimits, *, actor: str) -> None:
    """Set all limits of a key, in place of those that it had; raises `NotFound`, `RequestError`.

    Running gateways hold to them within five seconds; what they had leased already may still be
    used, for a minute at most.
    """
    check_limits(limits)
    async with engine.begin() as connection:
        found = await connection.execute(select(api_key.c.id).where(api_key.c.id == key))
        if found.first() is None:
            raise NotFound("there is no such key")
        await put_limits(connection, key, limits)
        await record(connection, actor, "key.limit", target=key, **asdict(limits))


async def put_limits(connection: AsyncConnection, key: str, limits: KeyLimits) -> None:
    """Write the row, or remove it where nothing is limited."""
    await connection.execute(delete(key_limit).where(key_limit.c.key == key))
    if limits == KeyLimits():
        return
    models = msgspec.json.encode(limits.models).decode() if limits.models is not None else None
    await connection.execute(
        insert(key_limit).values(
            key=key,
            requests=limits.requests,
            tokens=limits.tokens,
            slots=limits.slots,
            nano=limits.nano,
            models=models,
        )
    )
