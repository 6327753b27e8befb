"""A bounded fair queue in virtual time (DESIGN 7): who waits while every slot is taken. Pure.

Start-time fair queueing: each tenant has a tag that grows by one with each of its requests that is
served, and the smallest tag goes next. So a tenant waits for its own requests, and not for
how many another one sends. Within a tenant the higher priority goes first, then who came first.

A request names the *pools* whose slots it can use. A tenant whose pools had no slot for long would
come back with a tag far behind; it is raised to `MOST_BEHIND` below the others', so that it
catches up a little and does not crowd them out.
"""

from bisect import insort
from collections.abc import Hashable, Iterator
from enum import Enum
from heapq import heappop, heappush, heapreplace
from typing import Generic, TypeVar

Item = TypeVar("Item")
MOST_BEHIND = 4.0
"""In requests."""


class Full(Enum):
    """Why nobody else may wait."""

    TENANT = "tenant"
    TOTAL = "total"


class _Tenant:
    __slots__ = ("name", "tag", "waiting")

    def __init__(self, name: str) -> None:
        self.name = name
        self.tag = 0.0
        self.waiting = 0


class Entry(Generic[Item]):
    """One request; `waiting` until it is served or removed."""

    __slots__ = ("item", "pools", "rank", "tenant", "waiting")

    def __init__(
        self,
        item: Item,
        tenant: _Tenant,
        *,
        pools: tuple[Hashable, ...],
        rank: tuple[int, int],
    ) -> None:
        self.item = item
        self.tenant = tenant
        self.waiting = True
        self.pools = pools
        self.rank = rank


class _Pool(Generic[Item]):
    """Those who wait for the same slots: a line per tenant, and the tenants by tag.

    The heap holds each tenant once, under a tag that may have grown since: then it is put back.
    """

    __slots__ = ("lines", "order", "ordered")

    def __init__(self) -> None:
        self.lines: dict[_Tenant, list[Entry[Item]]] = {}
        self.order: list[tuple[float, int, _Tenant]] = []
        self.ordered: set[_Tenant] = set()

    def add(self, entry: Entry[Item], tenant: _Tenant) -> None:
        insort(self.lines.setdefault(tenant, []), entry, key=_rank)
        if tenant not in self.ordered:
            self.ordered.add(tenant)
            heappush(self.order, (tenant.tag, entry.rank[1], tenant))

    def discard(self, entry: Entry[Item], tenant: _Tenant) -> None:
        line = self.lines[tenant]
        line.remove(entry)
        if not line:
            del self.lines[tenant]

    def head(self, floor: float) -> tuple[float, Entry[Item]]:
        """Who is next here, and under which tag; a pool without lines is not kept."""
        order = self.order
        while True:
            tag, _, tenant = order[0]
            line = self.lines.get(tenant)
            if line is None:
                heappop(order)
                self.ordered.discard(tenant)
                continue
            current = max(tenant.tag, floor)
            if tag >= current:
                return current, line[0]
            heapreplace(order, (current, line[0].rank[1], tenant))


class FairQueue(Generic[Item]):
    """Bounded in all and per tenant."""

    def __init__(self, *, total: int, per_tenant: int) -> None:
        self._total = total
        self._per_tenant = per_tenant
        self._pools: dict[Hashable, _Pool[Item]] = {}
        self._tenants: dict[str, _Tenant] = {}
        self._clock = 0.0
        self._arrivals = 0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def full(self, tenant: str) -> Full | None:
        """Whether, and why, another request of this tenant may not wait."""
        known = self._tenants.get(tenant)
        if known is not None and known.waiting >= self._per_tenant:
            return Full.TENANT
        return Full.TOTAL if self._size >= self._total else None

    def waiting(self, tenant: str) -> int:
        """Requests of this tenant that wait."""
        known = self._tenants.get(tenant)
        return known.waiting if known is not None else 0

    def push(
        self,
        item: Item,
        *,
        tenant: str,
        pools: tuple[Hashable, ...],
        priority: int = 0,
    ) -> Entry[Item]:
        """Wait for a slot of any of these pools; raises `ValueError` when it is full."""
        if self.full(tenant) is not None:
            raise ValueError("the queue is full: ask `full` first")
        known = self._tenants.get(tenant)
        if known is None:
            known = self._tenants[tenant] = _Tenant(tenant)
        if not known.waiting:
            known.tag = max(known.tag, self._clock)
        known.waiting += 1
        self._size += 1
        self._arrivals += 1
        rank = (-priority, self._arrivals)
        entry = Entry(item, known, pools=tuple(dict.fromkeys(pools)), rank=rank)
        for name in entry.pools:
            pool = self._pools.get(name)
            if pool is None:
                pool = self._pools[name] = _Pool()
            pool.add(entry, known)
        return entry

    def pop(self, *pools: Hashable) -> Entry[Item] | None:
        """A slot that these pools share is free: who gets it."""
        best: tuple[float, Entry[Item]] | None = None
        floor = self._clock - MOST_BEHIND
        for name in pools:
            pool = self._pools.get(name)
            if pool is None:
                continue
            head = pool.head(floor)
            if best is None or _before(head, best):
                best = head
        if best is None:
            return None
        tag, entry = best
        self._clock = max(self._clock, tag)
        entry.tenant.tag = tag + 1.0
        self.remove(entry)
        return entry

    def remove(self, entry: Entry[Item]) -> None:
        """It waits no more; again is no error."""
        if not entry.waiting:
            return
        entry.waiting, tenant = False, entry.tenant
        for name in entry.pools:
            pool = self._pools[name]
            pool.discard(entry, tenant)
            if not pool.lines:
                del self._pools[name]
        tenant.waiting -= 1
        self._size -= 1
        self._forget(tenant)

    def entries(self) -> Iterator[Entry[Item]]:
        """Everyone who waits, once, in no order."""
        seen: set[Entry[Item]] = set()
        for pool in list(self._pools.values()):
            for line in list(pool.lines.values()):
                for entry in list(line):
                    if entry.waiting and entry not in seen:
                        seen.add(entry)
                        yield entry

    def _forget(self, tenant: _Tenant) -> None:
        """Tags matter only while somebody waits, and only those above the clock."""
        if not self._size:
            self._tenants.clear()
            self._clock = 0.0
        elif not tenant.waiting and tenant.tag <= self._clock:
            del self._tenants[tenant.name]
        elif len(self._tenants) > 2 * self._total:
            # So many that turns among them no longer matter.
            for one in [one for one in self._tenants.values() if not one.waiting]:
                del self._tenants[one.name]


def _before(one: tuple[float, Entry[Item]], other: tuple[float, Entry[Item]]) -> bool:
    """Among tenants by tag, within one by rank."""
    if one[1].tenant is other[1].tenant:
        return one[1].rank < other[1].rank
    return (one[0], one[1].rank[1]) < (other[0], other[1].rank[1])


def _rank(entry: Entry[Item]) -> tuple[int, int]:
    return entry.rank
