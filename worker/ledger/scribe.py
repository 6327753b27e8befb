"""Statements towards one gateway, and the batches they are signed in (SPEC 1.3, 1.5). Sans-IO.

`n` counts without a gap and `prev` chains, per boot and gateway: no other gateway's receipts are
needed to check ours. Writing a statement fixes its place at once; signing comes in batches.
"""

from dataclasses import dataclass

from bombyx import canonical
from bombyx.link.documents import Settle
from bombyx.money.batch import MAX_LEAVES, Batch, leaf_hash, root, root_and_paths
from bombyx.money.cost import Rates, Tokens, price
from bombyx.money.offer import Prices
from bombyx.money.receipt import Receipt
from bombyx.money.statement import GENESIS, Statement, Status, TokenCounts, statement_hash
from bombyx.signing import Kind, Signer


@dataclass(frozen=True, slots=True)
class Matter:
    """What all statements of one request say alike; digests in hex, `max_cost` in nano."""

    c: str
    h: str
    id: str
    tier: str
    payer: str
    worker: str
    model: str
    weights: str
    engine: str
    offer: str
    prices: Prices
    rates: Rates
    fee_bps: int
    max_cost: int
    req_ct_hash: str
    ticket: str


@dataclass(frozen=True, slots=True)
class Point:
    """Where a request stands: its `seq`-th statement; `at` in milliseconds."""

    seq: int
    status: Status
    tokens: Tokens
    resp_ct_hash: bytes
    resp_ct_bytes: int
    at: int


class Scribe:
    """Writes and signs; the shell decides when to `flush` and `settle`."""

    def __init__(self, *, boot: str, gateway: str, signer: Signer) -> None:
        self._boot = boot
        self._gateway = gateway
        self._signer = signer
        self._n = 0
        self._prev = GENESIS
        self._unsigned: list[Statement] = []
        self._leaves: list[bytes] = []
        self._unsettled: list[bytes] = []
        self._settled = 0

    @property
    def unsigned(self) -> int:
        """Statements that wait for `flush`; never more than 64 may."""
        return len(self._unsigned)

    @property
    def unsettled(self) -> int:
        """Leaves that wait for `settle`."""
        return len(self._unsettled)

    def write(self, matter: Matter, point: Point) -> Statement:
        """The next statement; raises `ValueError` where it would charge more than was allowed."""
        cost = price(point.tokens, matter.rates, matter.fee_bps)
        if cost.charge > matter.max_cost:
            raise ValueError("the charge is above the request's max_cost_nano")
        if len(self._unsigned) >= MAX_LEAVES:
            raise ValueError("a batch holds at most 64 statements")
        tokens = point.tokens
        statement = Statement(
            v="bombyx/1",
            c=matter.c,
            h=matter.h,
            id=matter.id,
            tier="bare" if matter.tier == "bare" else "sealed",
            payer=matter.payer,
            gateway=self._gateway,
            worker=matter.worker,
            boot=self._boot,
            n=self._n,
            seq=point.seq,
            model=matter.model,
            weights=matter.weights,
            engine=matter.engine,
            offer=matter.offer,
            prices=matter.prices,
            tokens=TokenCounts(
                prompt=tokens.prompt,
                cached=tokens.cached,
                completion=tokens.completion,
                reasoning=tokens.reasoning,
            ),
            amount_nano=str(cost.amount),
            fee_bps=matter.fee_bps,
            fee_nano=str(cost.fee),
            charge_nano=str(cost.charge),
            req_ct_hash=matter.req_ct_hash,
            resp_ct_hash=point.resp_ct_hash.hex(),
            resp_ct_bytes=point.resp_ct_bytes,
            status=point.status,
            ticket=matter.ticket,
            at=point.at,
            prev=self._prev,
        )
        self._take(statement)
        return statement

    def _take(self, statement: Statement) -> None:
        self._n += 1
        self._prev = statement_hash(statement).hex()
        leaf = leaf_hash(canonical.encode(statement))
        self._unsigned.append(statement)
        self._leaves.append(leaf)
        self._unsettled.append(leaf)

    def flush(self) -> list[Receipt]:
        """Sign what was written since the last time, in the order it was written."""
        if not self._unsigned:
            return []
        statements, self._unsigned = self._unsigned, []
        leaves, self._leaves = self._leaves, []
        top, paths = root_and_paths(leaves)
        batch = self._batch(top, count=len(leaves), first_n=statements[0].n)
        signature = self._signer.sign(Kind.BATCH, batch).hex()
        return [
            Receipt(
                statement=statement,
                path=[sibling.hex() for sibling in path],
                batch=batch,
                signature=signature,
            )
            for statement, path in zip(statements, paths, strict=True)
        ]

    def settle(self) -> Settle | None:
        """One signature of kind `settle` over up to 64 leaves; None when there are none."""
        leaves, self._unsettled = self._unsettled[:MAX_LEAVES], self._unsettled[MAX_LEAVES:]
        if not leaves:
            return None
        batch = self._batch(root(leaves), count=len(leaves), first_n=self._settled)
        self._settled += len(leaves)
        return Settle(
            leaves=[leaf.hex() for leaf in leaves],
            batch=batch,
            signature=self._signer.sign(Kind.SETTLE, batch).hex(),
        )

    def _batch(self, top: bytes, *, count: int, first_n: int) -> Batch:
        return Batch(
            boot=self._boot, gateway=self._gateway, root=top.hex(), count=count, first_n=first_n
        )
