"""Who waits for a worker, in which order it is served, and how a wait ends (SPEC 13.6)."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import cast

import httpx2
import pytest
import pytest_asyncio

from bombyx import canonical
from bombyx.envelope.request import SealedRequest
from bombyx.link.documents import WorkerStatus
from bombyx.link.frames import LinkType
from gateway.accounts.repository import Accounts
from gateway.inference.exchange import Exchange
from gateway.inference.router import MOST_WEIGHED, Router
from gateway.routing.breaker import FAILURES_IN_A_ROW, State
from gateway.routing.route import Priority
from tests.network.asking import listing
from tests.network.harness import CREDIT, MODEL, Network, network
from tests.network.liar import PRICES, Job, Liar, liar, make_generation, unix
from tests.network.requests import CHAT, SEALED, bearer, body, error_of, http, payer_of, seal
from worker.identity import Boot

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHORT = 1
"""Seconds that a request waits here."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def narrow(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Network]:
    """A gateway whose queue is short."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("narrow")
        patch.setenv("BOMBYX_STATE", str(folder / "client"))
        async with network(
            folder, workers=0, queue_total=6, queue_per_account=4, queue_wait_s=SHORT
        ) as net:
            yield net


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def other(narrow: Network) -> tuple[str, str]:
    """A second account and its key."""
    accounts = Accounts(narrow.context.engine)
    account = await accounts.create("others")
    await accounts.credit(account.id, CREDIT, txn="others")
    return account.id, (await accounts.create_key(account.id, name="others"))[1].secret


@contextlib.asynccontextmanager
async def one_slot(net: Network) -> AsyncIterator[Liar]:
    boot = Boot.fresh()
    generation = await make_generation(net, boot=boot)
    generation.offers.publish(
        dict.fromkeys(generation.models, PRICES),
        worker=generation.worker,
        signer=boot.link,
        max_concurrency=1,
        not_after=generation.keyset.not_after,
        now=unix(),
    )
    async with liar(net, boot=boot, generation=generation) as one:
        yield one


def router(net: Network) -> Router:
    return net.context.dispatcher.router


async def sealed_to(net: Network, *workers: Liar, account: str = "") -> SealedRequest:
    entries = (await listing(net, *workers)).workers
    return seal(net, entries, body("hi"), payer=payer_of(account or net.account))


class Asking:
    """Requests on their way, and the order in which they were answered."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self.tasks: dict[str, asyncio.Task[httpx2.Response]] = {}
        self.done: list[str] = []

    async def ask(
        self, name: str, request: SealedRequest | None, *, key: str = "", route: str = ""
    ) -> None:
        """Send it, and wait until it runs or waits: the order of arrival is the test's."""
        waiting, open_runs = len(router(self.net).room), len(self.net.context.runs.open_runs())
        self.tasks[name] = asyncio.create_task(self._post(name, request, key, route))
        async with asyncio.timeout(5):
            while (
                len(router(self.net).room) == waiting
                and len(self.net.context.runs.open_runs()) == open_runs
                and not self.tasks[name].done()
            ):
                await asyncio.sleep(0.002)

    async def _post(
        self, name: str, request: SealedRequest | None, key: str, route: str
    ) -> httpx2.Response:
        headers = bearer(key or self.net.api_key)
        headers |= {"x-bombyx-route": route} if route else {}
        if request is None:
            headers["content-type"] = "application/json"
            content = json.dumps(body("hi")).encode()
        else:
            headers["content-type"] = SEALED
            content = request.encode()
        async with http() as client:
            answer = await client.post(self.net.url + CHAT, content=content, headers=headers)
        self.done.append(name)
        return answer


@contextlib.asynccontextmanager
async def asked(net: Network) -> AsyncIterator[Asking]:
    asking = Asking(net)
    try:
        yield asking
    finally:
        for task in asking.tasks.values():
            task.cancel()
        await asyncio.gather(*asking.tasks.values(), return_exceptions=True)
        async with asyncio.timeout(5):
            while len(router(net).room):
                await asyncio.sleep(0.005)


async def answer(one: Liar, job: Job) -> None:
    if job.header.tier == "bare":
        await one.answer_bare(job, [b"data: [DONE]\n\n"])
        return
    await one.begin(job)
    await one.token(job)
    await one.finish(job, one.statement(job))


async def answer_all(one: Liar, asking: Asking) -> list[str]:
    """Answer until nobody waits; one at a time, since there is one slot."""
    while len(asking.done) < len(asking.tasks):
        before = len(asking.done)
        await answer(one, await one.job())
        async with asyncio.timeout(5):
            while len(asking.done) == before:
                await asyncio.sleep(0.002)
        assert one.jobs.qsize() <= 1
    return asking.done


@pytest.mark.spec("13.6-b")
@pytest.mark.parametrize("tier", ["sealed", "bare"])
async def test_accounts_take_turns_however_many_requests_one_has(
    narrow: Network, other: tuple[str, str], tier: str
) -> None:
    async with one_slot(narrow) as one, asked(narrow) as asking:

        async def request(account: str = "") -> SealedRequest | None:
            return await sealed_to(narrow, one, account=account) if tier == "sealed" else None

        for number in range(5):
            await asking.ask(f"a{number}", await request())
        await asking.ask("b0", await request(other[0]), key=other[1])
        assert one.jobs.qsize() <= 1
        assert len(router(narrow).room) == 5
        assert await answer_all(one, asking) == ["a0", "a1", "b0", "a2", "a3", "a4"]
        assert {task.result().status_code for task in asking.tasks.values()} == {200}
    assert narrow.context.runs.open_runs() == []


async def test_priorities_order_an_accounts_own_requests(narrow: Network) -> None:
    async with one_slot(narrow) as one, asked(narrow) as asking:
        await asking.ask("running", await sealed_to(narrow, one))
        for name in ("low", "normal", "high"):
            await asking.ask(name, await sealed_to(narrow, one), route=name)
        assert await answer_all(one, asking) == ["running", "high", "normal", "low"]


@pytest.mark.spec("13.6-c")
async def test_too_many_of_one_account_is_429_and_a_full_house_503(
    narrow: Network, other: tuple[str, str]
) -> None:
    async with one_slot(narrow) as one, asked(narrow) as asking:
        for number in range(5):
            await asking.ask(f"a{number}", await sealed_to(narrow, one))
        await asking.ask("a5", await sealed_to(narrow, one))
        refused = await asking.tasks["a5"]
        assert error_of(refused) == (429, "rate_limit_exceeded")
        assert int(refused.headers["retry-after"]) >= 1
        for number in range(2):
            request = await sealed_to(narrow, one, account=other[0])
            await asking.ask(f"b{number}", request, key=other[1])
        await asking.ask("b2", None, key=other[1])
        refused = await asking.tasks["b2"]
        assert error_of(refused) == (503, "overloaded")
        assert int(refused.headers["retry-after-ms"]) >= 1000


@pytest.mark.spec("13.6-a")
async def test_who_waited_too_long_is_told_so_and_nothing_is_claimed(narrow: Network) -> None:
    async with one_slot(narrow) as one, asked(narrow) as asking:
        await asking.ask("running", await sealed_to(narrow, one))
        request = await sealed_to(narrow, one)
        await asking.ask("waiting", request)
        refused = await asking.tasks["waiting"]
        assert error_of(refused) == (503, "overloaded")
        assert await narrow.context.store.find_claims([request.c]) == {}
        assert one.jobs.qsize() == 1
        # The same bytes may come again.
        await answer(one, await one.job())
        await asking.tasks["running"]
        await asking.ask("again", request)
        await answer(one, await one.job())
        assert (await asking.tasks["again"]).status_code == 200


@pytest.mark.spec("13.6-a")
async def test_a_client_that_hangs_up_leaves_the_queue(narrow: Network) -> None:
    async with one_slot(narrow) as one, asked(narrow) as asking:
        await asking.ask("running", await sealed_to(narrow, one))
        for name, request in (("sealed", await sealed_to(narrow, one)), ("bare", None)):
            await asking.ask(name, request)
            assert len(router(narrow).room) == 1
            asking.tasks[name].cancel()
            async with asyncio.timeout(5):
                while len(router(narrow).room):
                    await asyncio.sleep(0.005)
        assert len(narrow.context.runs.open_runs()) == 1
        await answer(one, await one.job())
        await asking.tasks["running"]
        assert one.jobs.empty()


async def test_the_same_bytes_that_come_twice_wait_once(narrow: Network) -> None:
    async with one_slot(narrow) as one, asked(narrow) as asking:
        await asking.ask("running", await sealed_to(narrow, one))
        request = await sealed_to(narrow, one)
        await asking.ask("first", request)
        second = asyncio.create_task(asking._post("second", request, "", ""))
        await asyncio.sleep(0.1)
        assert len(router(narrow).room) == 1
        # Whoever joined still wants it when the first one leaves.
        asking.tasks["first"].cancel()
        await asyncio.sleep(0.1)
        assert len(router(narrow).room) == 1
        await answer(one, await one.job())
        await answer(one, await one.job())
        assert (await second).status_code == 200


async def test_who_waits_for_a_worker_that_goes_is_told_at_once(narrow: Network) -> None:
    async with asked(narrow) as asking, one_slot(narrow) as one:
        await asking.ask("running", await sealed_to(narrow, one))
        await asking.ask("waiting", await sealed_to(narrow, one))
        await one.socket.close()
        assert error_of(await asking.tasks["waiting"])[1] in ("no_candidate", "overloaded")


async def test_a_bare_request_waits_for_any_worker(narrow: Network) -> None:
    async with one_slot(narrow) as one, asked(narrow) as asking:
        await asking.ask("running", None)
        await asking.ask("waiting", None)
        async with one_slot(narrow) as two:
            await answer(two, await two.job())
            assert (await asking.tasks["waiting"]).status_code == 200
        await answer(one, await one.job())


async def test_requests_of_other_gateways_fill_a_worker_too(narrow: Network) -> None:
    async with one_slot(narrow) as one, asked(narrow) as asking:

        async def say(running: int) -> None:
            status = WorkerStatus(model=MODEL, running=running, waiting=0, slots=1)
            await one.document(LinkType.STATUS, canonical.encode(status))

        listed = narrow.context.registry.get(one.worker)
        assert listed is not None
        await say(1)
        async with asyncio.timeout(5):
            while not listed.load(MODEL):
                await asyncio.sleep(0.002)
        await asking.ask("waiting", await sealed_to(narrow, one))
        assert len(router(narrow).room) == 1
        await say(0)
        await answer(one, await one.job())
        assert (await asking.tasks["waiting"]).status_code == 200
        assert listed.load(MODEL) == 0


async def test_its_own_requests_never_pass_for_those_of_others(narrow: Network) -> None:
    async with one_slot(narrow) as one, asked(narrow) as asking:
        await asking.ask("first", await sealed_to(narrow, one))
        await answer(one, await one.job())
        await asking.tasks["first"]
        # Counted while it ran, said when it was over.
        status = WorkerStatus(model=MODEL, running=1, waiting=0, slots=1)
        await one.document(LinkType.STATUS, canonical.encode(status))
        await asyncio.sleep(0.05)
        await asking.ask("second", await sealed_to(narrow, one))
        await answer(one, await one.job())
        assert (await asking.tasks["second"]).status_code == 200


async def test_a_worker_that_refuses_as_full_is_left_alone_for_a_moment(narrow: Network) -> None:
    async with one_slot(narrow) as one, asked(narrow) as asking:
        await asking.ask("refused", await sealed_to(narrow, one))
        await one.refuse(await one.job(), "busy", "worker")
        assert error_of(await asking.tasks["refused"])[0] == 422
        listed = narrow.context.registry.get(one.worker)
        assert listed is not None
        assert not listed.has_room(MODEL, listed.paused_until - 0.01)
        assert listed.has_room(MODEL, listed.paused_until)
        assert listed.running(MODEL) == 0


@pytest.mark.parametrize("tier", ["sealed", "bare"])
async def test_a_request_that_asks_is_told_its_route(narrow: Network, tier: str) -> None:
    async with one_slot(narrow) as one, asked(narrow) as asking:
        for name in ("first", "second"):
            request = await sealed_to(narrow, one) if tier == "sealed" else None
            await asking.ask(name, request, route="fast, explain")
        for name in ("first", "second"):
            await answer(one, await one.job())
            told = (await asking.tasks[name]).headers["x-bombyx-route"]
            assert told.startswith("fast;reason=" + ("only" if name == "first" else "queue"))
            assert one.worker[:12] in told
        assert "queued_ms=0;" not in told


@pytest.mark.spec("13.7-a")
async def test_without_asking_nothing_is_told_and_a_bad_wish_is_400(narrow: Network) -> None:
    async with one_slot(narrow) as one, asked(narrow) as asking:
        await asking.ask("silent", await sealed_to(narrow, one))
        await answer(one, await one.job())
        assert "x-bombyx-route" not in (await asking.tasks["silent"]).headers
        for request in (await sealed_to(narrow, one), None):
            await asking.ask("bad", request, route="quickest")
            assert error_of(await asking.tasks["bad"]) == (400, "invalid_request")


async def test_outcomes_make_a_reputation_and_failures_open_the_breaker(narrow: Network) -> None:
    async with one_slot(narrow) as one, asked(narrow) as asking:
        listed = narrow.context.registry.get(one.worker)
        assert listed is not None
        standing = listed.standing
        assert standing is narrow.context.registry.standings.of("liar", listed.verified.platform_id)
        await asking.ask("good", await sealed_to(narrow, one))
        answered = standing.answered
        await answer(one, await one.job())
        await asking.tasks["good"]
        assert standing.answered == answered + 1
        for number in range(FAILURES_IN_A_ROW):
            await asking.ask(f"bad{number}", await sealed_to(narrow, one))
            await one.word(await one.job(), LinkType.RESET, b"no")
            assert (await asking.tasks[f"bad{number}"]).status_code == 502
        now = asyncio.get_running_loop().time()
        assert standing.state(now) is State.OPEN
        # Nobody else is left: it is asked all the same, and an answer closes the breaker.
        await asking.ask("last", await sealed_to(narrow, one))
        await answer(one, await one.job())
        assert (await asking.tasks["last"]).status_code == 200
        assert standing.state(now) is State.CLOSED


async def test_requests_that_come_at_once_go_to_as_many_workers(narrow: Network) -> None:
    """A slot is held from the choice on; in a network of many a sample is weighed first."""
    async with contextlib.AsyncExitStack() as stack:
        asking = await stack.enter_async_context(asked(narrow))
        workers = [
            await stack.enter_async_context(one_slot(narrow)) for _ in range(MOST_WEIGHED + 2)
        ]
        three = workers[:3]
        for number, request in enumerate([await sealed_to(narrow, *three) for _ in three]):
            asking.tasks[f"s{number}"] = asyncio.create_task(asking._post("s", request, "", ""))
        jobs = await asyncio.gather(*(one.job() for one in three))
        for number in range(len(workers) - 3):
            asking.tasks[f"b{number}"] = asyncio.create_task(asking._post("b", None, "", "explain"))
        jobs += await asyncio.gather(*(one.job() for one in workers[3:]))
        for one, job in zip(workers, jobs, strict=True):
            await answer(one, job)
        answers = await asyncio.gather(*asking.tasks.values())
        assert {one.status_code for one in answers} == {200}
        assert {one.headers["x-bombyx-worker"] for one in answers} == {
            one.worker for one in workers
        }


async def test_a_bare_request_that_failed_goes_to_another_even_if_it_is_full(
    narrow: Network,
) -> None:
    async with one_slot(narrow) as one, one_slot(narrow) as two, asked(narrow) as asking:
        await asking.ask("first", await sealed_to(narrow, one))
        await asking.ask("second", None, route="explain")
        await two.word(await two.job(), LinkType.RESET, b"no")
        first, second = await one.job(), await one.job()
        await answer(one, first)
        await answer(one, second)
        told = await asking.tasks["second"]
        assert told.status_code == 200
        assert "attempt=2" in told.headers["x-bombyx-route"]


async def test_a_sealed_request_that_failed_goes_to_another_candidate_even_if_it_is_full(
    narrow: Network,
) -> None:
    async with one_slot(narrow) as one, one_slot(narrow) as two, asked(narrow) as asking:
        await asking.ask("first", await sealed_to(narrow, one))
        await asking.ask("second", await sealed_to(narrow, one, two), route="explain")
        await two.word(await two.job(), LinkType.RESET, b"no")
        first, second = await one.job(), await one.job()
        await answer(one, first)
        await answer(one, second)
        told = await asking.tasks["second"]
        assert told.status_code == 200
        assert "attempt=2" in told.headers["x-bombyx-route"]


async def test_a_gateway_that_stops_sends_the_waiting_away(narrow: Network) -> None:
    async with one_slot(narrow) as one, asked(narrow) as asking:
        await asking.ask("running", await sealed_to(narrow, one))
        await asking.ask("waiting", await sealed_to(narrow, one))
        router(narrow).sweep(draining=True)
        assert error_of(await asking.tasks["waiting"]) == (503, "draining")
        await answer(one, await one.job())


async def test_who_is_cancelled_in_the_turn_of_its_grant_gives_the_slot_back(
    narrow: Network,
) -> None:
    class Client:
        def watch(self, on_gone: Callable[[], None]) -> None:
            """Never goes."""

    async with one_slot(narrow) as one:
        listed = narrow.context.registry.get(one.worker)
        assert listed is not None
        listed.link.hold(MODEL)
        waiting = asyncio.create_task(
            router(narrow).room.wait(
                "account",
                model=MODEL,
                listed=[listed],
                priority=Priority.NORMAL,
                seconds=5,
                exchange=cast("Exchange", Client()),
                wanted=lambda: True,
            )
        )
        await asyncio.sleep(0)
        listed.link.release(MODEL)
        assert listed.running(MODEL) == 1
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert (waiting.cancelled(), listed.running(MODEL)) == (True, 0)


async def test_the_book_of_slots_is_even_in_the_end(narrow: Network) -> None:
    await narrow.settled()
    for listed in narrow.context.registry.all():
        assert set(listed.link.running.values()) <= {0}
