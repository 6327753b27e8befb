"""Why a statement was superseded (SPEC 6.6): the receipt that won its claim, or a signed note.

The same note tells a client that its request is never billed (SPEC 14.3).

A worker bears the loss of a superseded answer, so it is shown what took its place; without that it
goes on counting the amount as owed. Nothing is said while the claim is still open.
"""

import asyncio
from collections.abc import Callable

import structlog

from bombyx import canonical
from bombyx.errors import BombyxError
from bombyx.link.documents import Disposition, Lost, SignedLost
from bombyx.money.receipt import Receipt
from bombyx.signing import Kind, Signer
from gateway.metering.port import Claims
from gateway.metering.rows import Disposition as Judged

Tell = Callable[[Disposition], None]

_log = structlog.get_logger(__name__)


class Proofs:
    """Looks winners up and signs `lost` notes; tells each loser once its claim is settled."""

    def __init__(self, claims: Claims, identity: Signer, now_ms: Callable[[], int]) -> None:
        self._claims = claims
        self._identity = identity
        self._now_ms = now_ms
        self._waiting: dict[bytes, list[tuple[bytes, Tell]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def superseded(self, c: bytes, statement: bytes, tell: Tell, *, settled: bool) -> None:
        """A loser of the claim `c`; `statement` is its hash."""
        if settled:
            self._spawn(c, statement, tell)
        else:
            self._waiting.setdefault(c, []).append((statement, tell))

    def on_settled(self, c: bytes) -> None:
        """The claim has its end: its losers can be told."""
        for statement, tell in self._waiting.pop(c, ()):
            self._spawn(c, statement, tell)

    def _spawn(self, c: bytes, statement: bytes, tell: Tell) -> None:
        task = asyncio.get_running_loop().create_task(self._tell(c, statement, tell))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self, c: bytes, statement: bytes, tell: Tell) -> None:
        try:
            tell(await self._disposition(c, statement))
        except BombyxError as error:
            # The worker asks again with its journal.
            _log.warning("proof_failed", reason=error.message)

    async def _disposition(self, c: bytes, statement: bytes) -> Disposition:
        for receipt in await self._claims.receipts_of(c):
            if receipt.disposition is Judged.BILLED and receipt.statement_hash != statement:
                winner = canonical.decode(receipt.document, Receipt)
                return Disposition(
                    statement=statement.hex(), disposition="superseded", winner=winner
                )
        note = self.note(c)
        return Disposition(
            statement=statement.hex(),
            disposition="superseded",
            lost=note.lost,
            lost_signature=note.signature,
        )

    def note(self, c: bytes) -> SignedLost:
        """Our word that nothing is billed for `c`: only for a claim that is settled at nothing."""
        lost = Lost(gateway=self._identity.public_hex, c=c.hex(), at=self._now_ms())
        return SignedLost(lost=lost, signature=self._identity.sign(Kind.LOST, lost).hex())
