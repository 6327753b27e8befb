"""One request from `open` frame to last word: admit, run, sign (SPEC 4, 3, 8.3)."""

import asyncio
import os
import secrets
from collections.abc import Callable

import structlog

from bombyx import canonical
from bombyx.chat.forms import Shown
from bombyx.chat.paths import engine_path
from bombyx.chat.surface import endpoint
from bombyx.envelope.keys import SALT_BYTES
from bombyx.envelope.response import ResponseSealer
from bombyx.errors import JournalFailed
from worker.admission import Admission, Admitted, Peer
from worker.blame import Refused
from worker.clock import Clock
from worker.engine.port import Engine, EngineRequest
from worker.inference.answer import Answer, Desk
from worker.inference.meter import Meter
from worker.inference.outlet import StreamStopped
from worker.inference.pump import Pump
from worker.ledger.credit import Credit
from worker.ledger.hours import Hours
from worker.ledger.scribe import Matter
from worker.link.stream import Stream

MAX_SECONDS = 600.0
"""Of one answer; the gateway's deadline leaves 900 s more for its statement (SPEC 6.7)."""

_log = structlog.get_logger("worker.requests")


class Service:
    """Serves the streams of all links; `desk` gives what a gateway's answers are signed with."""

    def __init__(
        self,
        engine: Engine,
        admission: Admission,
        *,
        credit: Credit,
        desk: Callable[[str], Desk],
        clock: Clock,
        changed: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._admission = admission
        self._credit = credit
        self._desk = desk
        self._clock = clock
        self._changed = changed

    async def serve(self, stream: Stream, peer: Peer) -> None:
        """Everything that can happen to one request ends here."""
        try:
            frames = await stream.frames()
            admitted = await self._admission.admit(stream.request, frames, peer=peer)
        except StreamStopped:
            stream.reset("no_request")
            return
        except Refused as refused:
            word = refused.signed.refusal
            self._hours(peer).refused(refused.model, word.code, at=self._clock())
            _log.info("refused", code=word.code, fault=word.fault, gateway=peer.gateway)
            stream.refuse(canonical.encode(refused.signed))
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            self._changed()
            await self._run(admitted, stream, peer)
        except JournalFailed as error:
            _log.critical("journal_failed", id=admitted.header.id, reason=error.message)
            stream.reset(error.code)
        finally:
            self._credit.release(peer.gateway, admitted.worst)
            busy = round((loop.time() - began) * 1000)
            self._hours(peer).busy(admitted.header.model, busy, at=self._clock())
            self._changed()

    async def _run(self, admitted: Admitted, stream: Stream, peer: Peer) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        header = admitted.header
        meter = Meter(
            rates=admitted.rates,
            fee_bps=header.fee_bps,
            max_input=header.max_input_tokens,
            max_output=admitted.max_output,
            max_cost=int(header.max_cost_nano),
        )
        created = self._clock() // 1000
        shown = Shown(header.id, created)
        pump = Pump(
            self._engine,
            self._engine_request(admitted, created),
            self._answer(admitted, stream, self._desk(peer.gateway)),
            meter=meter,
            form=endpoint(header.path).form(admitted.asked, shown),
            max_seconds=min(MAX_SECONDS, admitted.deadline - self._clock() / 1000),
        )
        unanswered = await pump.run(stream)
        if unanswered is not None:
            _log.warning("unanswered", id=header.id, code=unanswered)
            self._hours(peer).refused(header.model, unanswered, at=self._clock())
            return
        tokens = meter.tokens
        _log.info(
            "served",
            id=header.id,
            prompt=tokens.prompt,
            completion=tokens.completion,
            ms=round((loop.time() - began) * 1000),
        )

    def _hours(self, peer: Peer) -> Hours:
        return self._desk(peer.gateway).journal.hours

    def _engine_request(self, admitted: Admitted, created: int) -> EngineRequest:
        header = admitted.header
        return EngineRequest(
            path=engine_path(header.path),
            body=admitted.body,
            request_id=secrets.token_hex(16),
            cache_salt=admitted.cache_salt,
            completion_id=endpoint(header.path).id_prefix + header.id,
            created=created,
        )

    def _answer(self, admitted: Admitted, stream: Stream, desk: Desk) -> Answer:
        sealer = ResponseSealer(
            admitted.keys.response_secret,
            h=admitted.h,
            salt=os.urandom(SALT_BYTES),
            padding=admitted.padding,
        )
        return Answer(sealer, stream, _matter(admitted), h=admitted.h, desk=desk)


def _matter(admitted: Admitted) -> Matter:
    header, model = admitted.header, admitted.generation.models[admitted.header.model]
    return Matter(
        c=admitted.c.hex(),
        h=admitted.h.hex(),
        id=header.id,
        tier=header.tier,
        payer=header.payer,
        worker=admitted.generation.worker,
        model=header.model,
        weights=model.weights,
        engine=model.engine,
        offer=admitted.offer_hash,
        prices=admitted.offer.prices,
        rates=admitted.rates,
        fee_bps=header.fee_bps,
        max_cost=int(header.max_cost_nano),
        req_ct_hash=admitted.req_ct_hash.hex(),
        ticket=admitted.ticket.hex(),
    )
