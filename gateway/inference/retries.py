"""`Idempotency-Key` on the bare tier (SPEC 14.4): one key stands for one billed answer.

The key is bound to the commitment of the attempt that runs, after its claim and before its
dispatch. The answer itself is not kept: it is plain text. A repetition learns what became of it.
"""

from dataclasses import dataclass, field
from hashlib import sha256

from bombyx.errors import BombyxError, IdempotencyConflict, RequestError
from gateway.context import Context
from gateway.inference.dispatcher import Begun, earlier
from gateway.inference.exchange import Exchange
from gateway.metering.rows import RetryKey

MAX_KEY = 255


@dataclass(slots=True)
class Retry:
    """A request's key, what it covers, and the attempts of this very call."""

    account: str
    key: str
    digest: bytes
    own: set[bytes] = field(default_factory=set)


def retry_of(exchange: Exchange, account: str, body: bytes) -> Retry | None:
    """The request's `Idempotency-Key`, None without one; raises `RequestError` for a bad one."""
    raw = exchange.header(b"idempotency-key")
    if not raw:
        return None
    key = raw.decode("latin-1")
    if len(key) > MAX_KEY or not (key.isascii() and key.isprintable()):
        raise RequestError("an Idempotency-Key has up to 255 printable characters")
    return Retry(account, key, sha256(exchange.path.encode() + b"\0" + body).digest())


async def bind(context: Context, retry: Retry, begun: Begun) -> None:
    """Make this attempt the one that the key stands for.

    Raises `IdempotencyConflict` for another body, `InProgress` or `AlreadyAnswered` where an
    earlier attempt runs or was billed; then nothing is dispatched and nothing charged.
    """
    c = bytes.fromhex(begun.run.claim.c)
    try:
        await _bind(context, retry, c)
    except BaseException:
        context.dispatcher.abandon(begun)
        raise
    retry.own.add(c)


async def _bind(context: Context, retry: Retry, c: bytes) -> None:
    row = RetryKey(retry.account, retry.key, retry.digest, c)
    bound = await context.store.bind_retry(row)
    if bound.body_digest != retry.digest:
        raise IdempotencyConflict("this Idempotency-Key was used with another body")
    if bound.c == c:
        return
    if bound.c not in retry.own and (error := await _outcome(context, bound)) is not None:
        raise error
    if not await context.store.rebind_retry(row, instead_of=bound.c):
        # Another repetition was faster.
        await _bind(context, retry, c)


async def _outcome(context: Context, bound: RetryKey) -> BombyxError | None:
    """What to answer for an earlier attempt; None when it ended without a charge."""
    stored = (await context.store.find_claims([bound.c])).get(bound.c)
    if stored is None or (stored.settled and not stored.charge):
        return None
    return earlier(stored, stored.account, stored.h)
