"""Payment channels under kills: gateway, sidecars, workers and the chain itself (SPEC 7 to 9, 16).

Clients ask through sidecars, which open and top up their channels while all this goes on, and out
of wallets in this process. Afterwards every channel is ended, with kills in between, and all books
are held against the chain's.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy.ext.asyncio import AsyncEngine

from bombyx.attestation.policy import render_policy
from gateway.database import create_engine
from tests.chaos.audit import journalled, late_claims, open_claims, read_books, uneven
from tests.chaos.channel_books import (
    Devnet,
    read_ended,
    read_sums,
    uneven_channels,
    unpaid_work,
)
from tests.chaos.channel_report import (
    CHAIN,
    GATEWAY,
    SIDECAR,
    WORKER,
    ChannelPlan,
    ChannelReport,
    complaints,
)
from tests.chaos.load import Tally
from tests.chaos.paying import Customers
from tests.chaos.processes import Process, free_port
from tests.chaos.purses import (
    GIVEN,
    GRAM,
    Purse,
    again_until_done,
    close_together,
    collect,
    finish_alone,
    library_purse,
    sidecar_purse,
    start_alone,
    ton_environment,
)
from tests.chaos.site import SCRIPTED, Site, build_site
from tests.chaos.storm import deadlines
from worker.clock import now_ms

BUSY_SECONDS = 60.0
QUIET_SECONDS = 120.0
SEEN_SECONDS = 30.0
GATEWAY_GIVEN = 10 * GRAM
TRIES = 30
PRICES = {
    "price_prompt": "4000000000",
    "price_cached": "1000000000",
    "price_completion": "12000000000",
    "price_reasoning": "12000000000",
}
"""Two hundred times the usual: deposits run out within minutes."""
MORE = {"unsecured_credit_nano": "1000000000000000", "slots": "128"}


class ChannelStorm:
    """One network with a chain, its payers and its killer."""

    def __init__(self, site: Site, chain: Process, plan: ChannelPlan) -> None:
        self._site, self._chain, self._plan = site, chain, plan
        self._draw = random.Random(plan.seed)
        self._engine: AsyncEngine = create_engine(site.database_url)
        self._purses: list[Purse] = []
        self._wallet = ""
        self._devnet = Devnet("")
        self._customers: Customers | None = None
        self.report = ChannelReport(Tally())

    async def run(self) -> ChannelReport:
        """Start, kill, wait, end all channels, read all books."""
        try:
            await self._start()
            await self._rage()
            await self._quiet()
            await self._end()
            await self._examine()
        finally:
            if self._customers is not None:
                self._customers.cancel()
            for one in self._sidecars():
                one.destroy()
            await self._devnet.close()
            await self._engine.dispose()
        return self.report

    @property
    def _url(self) -> str:
        return str(self._chain.ready["url"])

    def _sidecars(self) -> list[Process]:
        return [one.sidecar for one in self._purses if one.sidecar is not None]

    async def _start(self) -> None:
        site, plan = self._site, self._plan
        await self._chain.start()
        self._devnet = Devnet(self._url)
        site.gateway.environment = {**site.gateway.environment, **ton_environment(self._url)}
        await site.gateway.start()
        for worker in site.workers:
            worker.launch()
        self._wallet, key = await self._told_by_gateway()
        await self._devnet.give(self._wallet, GATEWAY_GIVEN)
        site.policy = replace(site.policy, channel_keys=(key,))
        (site.folder / "policy.toml").write_text(render_policy(site.policy))
        for number in range(plan.purses):
            make = sidecar_purse if number % 2 else library_purse
            self._purses.append(make(f"{number}", site, self._url))
        for purse in self._purses:
            await self._devnet.give(purse.address, GIVEN)
        for process in self._sidecars():
            process.launch()
        for worker in site.workers:
            await worker.await_ready()
        for purse in self._purses:
            if purse.sidecar is None:
                await purse.open()
        for process in self._sidecars():
            await process.await_ready()

    async def _told_by_gateway(self) -> tuple[str, str]:
        """Its wallet's address and its channel key."""
        async with httpx2.AsyncClient(trust_env=False, base_url=self._site.url) as http:
            admin = {"authorization": f"Bearer {self._site.admin_key}"}
            chain = await http.get("/admin/v1/chain", headers=admin)
            terms = await http.get("/v1/channels/terms", headers=admin)
        return str(chain.json()["address"]), str(terms.json()["accepts"][0]["gateway_key"])

    async def _rage(self) -> None:
        plan, report = self._plan, self.report
        customers = Customers(self._purses, clients=plan.clients, lanes=plan.lanes, seed=plan.seed)
        self._customers, report.tally = customers, customers.tally
        customers.start()
        while sum(report.kills.values()) < plan.kills:
            await self._busy(customers)
            await self._claim_somewhere()
            await self._kill_one()
        while customers.served < plan.requests or report.open_claims < plan.at_once:
            await self._look(customers)
        await customers.stop()
        report.at_once = customers.most

    async def _look(self, customers: Customers) -> None:
        await asyncio.sleep(0.1)
        customers.check()
        self._check_processes()
        self.report.open_claims = max(self.report.open_claims, await open_claims(self._engine))

    def _check_processes(self) -> None:
        for process in (self._chain, *self._site.processes, *self._sidecars()):
            process.check()

    async def _busy(self, customers: Customers) -> None:
        """Until enough streams run, then until some moment of which nobody knows."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BUSY_SECONDS):
                while len(customers.tally.streaming) < self._plan.streams:
                    await self._look(customers)
        await asyncio.sleep(self._draw.random() * 1.5)
        await self._look(customers)

    async def _claim_somewhere(self) -> None:
        """An operator claims, so that a kill may come between order, message and effect."""
        async with self._engine.connect() as connection:
            found = await connection.exec_driver_sql("SELECT id FROM channel WHERE charged > 0")
            names = sorted(row[0] for row in found)
        if names:
            with contextlib.suppress(httpx2.HTTPError):
                await self._admin(f"/admin/v1/channels/{self._draw.choice(names)}/claim")
            await asyncio.sleep(self._draw.random())

    async def _admin(self, path: str) -> int:
        async with httpx2.AsyncClient(trust_env=False, base_url=self._site.url) as http:
            headers = {"authorization": f"Bearer {self._site.admin_key}"}
            return (await http.post(path, headers=headers)).status_code

    async def _kill_one(self) -> None:
        (kind,) = self._draw.choices([CHAIN, GATEWAY, WORKER, SIDECAR], weights=[25, 25, 20, 30])
        victims = {
            CHAIN: [self._chain],
            GATEWAY: [self._site.gateway],
            WORKER: self._site.workers,
            SIDECAR: self._sidecars(),
        }
        victim = self._draw.choice(victims[kind])
        victim.kill()
        self.report.kills[kind] += 1
        self._note_uneven(
            [*await uneven(self._engine), *await uneven_channels(self._engine)], after=victim.name
        )
        await asyncio.sleep(self._draw.random() * 0.7)
        await victim.start()

    def _note_uneven(self, found: list[str], *, after: str) -> None:
        self.report.broken += [f"uneven after a kill of {after}: {one}" for one in found]

    async def _quiet(self) -> None:
        """Until every claim is settled and every journal empty."""
        broken = self.report.broken
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                while await open_claims(self._engine) or any(self._journals().values()):
                    if await late_claims(self._engine, now_ms()):
                        broken.append("a claim is open past its deadline")
                        return
                    self._check_processes()
                    await asyncio.sleep(0.5)
        except TimeoutError:
            broken.append(f"not quiet after {QUIET_SECONDS} s")

    def _journals(self) -> dict[str, int]:
        site = self._site
        return {
            one.name: journalled(site.journal(one), site.folder / "copies" / one.name)
            for one in site.workers
        }

    async def _end(self) -> None:
        """One channel alone, one by the gateway, the others as both sign; kills on the way."""
        for process in self._sidecars():
            self.report.exits[process.name] = await process.stop()
        for purse in self._purses:
            if len(purse.folders()) != 1:
                self.report.broken.append(f"{purse.name} has {len(purse.folders())} channels")
            await collect(purse)
        alone, by_gateway, *together = self._purses
        killing = asyncio.create_task(self._kill_while_closing())
        for purse in together:
            await self._do(close_together, purse)
        await killing
        (folder,) = by_gateway.folders()
        if await self._admin(f"/admin/v1/channels/{folder.name}/close") != 202:
            self.report.broken.append("the gateway could not end a channel")
        await self._closed(by_gateway)
        # Last, since it puts the chain's clock forward: terms that both sign would be over.
        await self._end_alone(alone)
        for purse in self._purses:
            await self._closed(purse)

    async def _do(self, deed: Callable[[Purse], Awaitable[None]], purse: Purse) -> None:
        self.report.on_the_way += await again_until_done(deed, purse, tries=TRIES)

    async def _kill_while_closing(self) -> None:
        both = {CHAIN: self._chain, GATEWAY: self._site.gateway}
        for victim in [both[name] for name in self._plan.while_closing]:
            await asyncio.sleep(0.2 + self._draw.random() * 0.5)
            victim.kill()
            self.report.kills[f"{victim.name} while channels close"] += 1
            await asyncio.sleep(self._draw.random() * 0.5)
            await victim.start()

    async def _end_alone(self, purse: Purse) -> None:
        """The client begins while the gateway is down, which claims when it is back."""
        self._site.gateway.kill()
        self.report.kills["gateway before a close"] += 1
        await self._do(start_alone, purse)
        await self._site.gateway.start()
        await self._until(purse, lambda seen: seen["claimed_nano"] == seen["charged_nano"])
        async with purse.side() as side:
            with contextlib.closing(purse.payer()) as one:
                looked = await side.look(one.store.channel)
        if looked is not None:
            await self._devnet.advance(max(looked.close_at - looked.at, 0) + 1)
        await self._do(finish_alone, purse)

    async def _closed(self, purse: Purse) -> None:
        await self._until(purse, lambda seen: seen["state"] == "closed")

    async def _until(self, purse: Purse, is_so: Callable[[dict[str, Any]], bool]) -> None:
        """Wait for the gateway's books to say so."""
        (folder,) = purse.folders()
        seen: Any = None
        try:
            async with (
                asyncio.timeout(SEEN_SECONDS),
                httpx2.AsyncClient(trust_env=False, base_url=self._site.url) as http,
            ):
                while seen is None or not is_so(seen):
                    await asyncio.sleep(0.2)
                    headers = {"authorization": f"Bearer {self._site.api_key}"}
                    with contextlib.suppress(httpx2.HTTPError):
                        answer = await http.get(f"/v1/channels/{folder.name}", headers=headers)
                        seen = answer.json() if answer.status_code == 200 else None
        except TimeoutError:
            self.report.broken.append(f"{purse.name}: the gateway's books stay {seen}")

    async def _examine(self) -> None:
        report, site = self.report, self._site
        for process in (*site.workers, site.gateway):
            report.exits[process.name] = await process.stop()
        report.journals = self._journals()
        report.books = await read_books(site.database_url, self._engine)
        report.unpaid = await unpaid_work(self._engine)
        report.ended = [await read_ended(one, self._engine, self._devnet) for one in self._purses]
        report.sums = await read_sums(
            report.ended, self._devnet, gateway=self._wallet, gateway_given=GATEWAY_GIVEN
        )
        report.exits[self._chain.name] = await self._chain.stop()
        report.broken += complaints(report, self._plan)
        self._note_uneven(await uneven_channels(self._engine), after="everything")


async def channel_storm(folder: Path, plan: ChannelPlan) -> ChannelReport:
    """A network with a chain in `folder`, stormed; nothing of it runs afterwards."""
    site = await build_site(
        folder,
        engines=(SCRIPTED, SCRIPTED),
        settings={**deadlines(plan.duration, plan.grace), "chain": "ton", "chain_every_s": "1"},
        worker_settings={**PRICES, **MORE},
    )
    where = ("--port", str(free_port()), "--state", str(folder / "chain"))
    chain = Process(CHAIN, ["devnet", "--host", "127.0.0.1", *where], folder)
    try:
        return await ChannelStorm(site, chain, plan).run()
    finally:
        site.destroy()
        chain.destroy()
