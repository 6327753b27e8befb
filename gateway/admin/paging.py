"""Pages of a list: `limit` and an opaque `cursor`; the answer's `next_cursor` leads on."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

import msgspec
from fastapi import Query

from bombyx.errors import RequestError

MAX_LIMIT = 1000
MAX_CURSOR = 512

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Most items of one page.")]
Cursor = Annotated[
    str | None, Query(max_length=MAX_CURSOR, description="`next_cursor` of the page before.")
]

Item = TypeVar("Item")
Part = TypeVar("Part", bound=tuple[str | int, ...])


def write_cursor(*parts: str | int) -> str:
    """Where a page ended, as a text that says nothing."""
    return base64.urlsafe_b64encode(msgspec.json.encode(parts)).rstrip(b"=").decode()


def read_cursor(cursor: str | None, kind: type[Part]) -> Part | None:
    """What `write_cursor` was given, None for the first page; raises `RequestError`."""
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        parts = msgspec.json.decode(raw, type=kind)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise _no_cursor() from None
    if not all(map(_is_stored, parts)):
        raise _no_cursor()
    return parts


def _is_stored(part: str | int) -> bool:
    """Whether a database could hold it: ours never wrote another into a cursor."""
    return "\0" not in part if isinstance(part, str) else abs(part) < 2**63


def _no_cursor() -> RequestError:
    return RequestError("the cursor is not one of this list", param="cursor")


def cut(
    items: Sequence[Item], limit: int, where: Callable[[Item], tuple[str | int, ...]]
) -> tuple[Sequence[Item], str | None]:
    """A page out of one item more than it holds, and the cursor of the next."""
    if len(items) <= limit:
        return items, None
    page = items[:limit]
    return page, write_cursor(*where(page[-1]))
