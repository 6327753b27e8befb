"""A worker that really answers a client, and lies in the receipt alone (SPEC 3.9)."""

import asyncio
import os
from typing import Any

from bombyx import canonical
from bombyx.attack.means.dialling import lying
from bombyx.attack.means.liar import Job, Liar
from bombyx.attack.means.relay import relaying
from bombyx.attack.means.victim import Victim
from bombyx.attack.record import Seen, judged
from bombyx.attack.target import Target
from bombyx.attestation.directory import Directory
from bombyx.attestation.keyset import keyset_digest
from bombyx.envelope.documents import ResponseHead
from bombyx.envelope.request import unwrap
from bombyx.envelope.response import Padding, ResponseSealer
from bombyx.link.frames import LinkType
from bombyx.link.open import WrappedKey
from bombyx.money.statement import statement_hash

EVENTS = (
    b'data: {"choices":[{"index":0,"delta":{"content":"silk"}}]}\n\n',
    b"data: [DONE]\n\n",
)


async def bill(target: Target, **lies: Any) -> Seen:
    """Answer a client of the library, with `lies` in the statement; whether it believes them."""
    async with lying(target) as liar:

        async def only_us(listed: Directory) -> Directory:
            ours = [one for one in listed.workers if keyset_digest(one.keyset) == liar.worker]
            return type(listed)(
                gateway=listed.gateway,
                fee_bps=listed.fee_bps,
                default_max_output_tokens=listed.default_max_output_tokens,
                deadline_s=listed.deadline_s,
                now=listed.now,
                workers=ours,
                collateral=listed.collateral,
            )

        async with relaying(target, redo=only_us) as relay:
            asking = asyncio.create_task(Victim(target).ask(relay.url))
            await _answer(liar, await liar.job(), lies)
            told = await asking
            return judged(told.believed, str(told))


async def _answer(liar: Liar, job: Job, lies: dict[str, Any]) -> None:
    key = job.open.key
    if not isinstance(key, WrappedKey):
        raise TypeError("a sealed request comes with a wrap")
    worker = bytes.fromhex(liar.worker)
    secrets = unwrap(key.wrap, liar.keys.sealing, worker=worker, h=job.h, c=job.open.c)
    sealer = ResponseSealer(
        secrets.response_secret, h=job.h, salt=os.urandom(32), padding=Padding.BUCKET
    )
    head = ResponseHead(status=200, headers=[("content-type", "text/event-stream")])
    out = sealer.salt + sealer.head(head) + b"".join(sealer.data(event) for event in EVENTS)
    digest, length = sealer.fix()
    true = {"resp_ct_hash": digest.hex(), "resp_ct_bytes": length}
    statement = liar.statement(job, **{**true, **lies})
    out += sealer.usage(canonical.encode(liar.receipt(statement)))
    out += sealer.end(statement_hash(statement))
    await liar.data(job, out)
    await liar.word(job, LinkType.END)
    await liar.settle(statement)
