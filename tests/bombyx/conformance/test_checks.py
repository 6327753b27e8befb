"""Every check passes against a good server, and fails against each that is wrong in its matter."""

import httpx2
import pytest

from bombyx.conformance.record import Check, Result
from bombyx.conformance.run import MODULES, all_checks, chosen, run_one
from bombyx.conformance.server import Server
from tests.bombyx.conformance.mutations import MUTATIONS
from tests.bombyx.conformance.wrong import Mutation, WrongServer, unchanged
from tests.network.harness import MODEL

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHECKS = {check.name: check for check in all_checks()}
BROKEN = [
    pytest.param(name, mutation, id=f"{name}-{number}")
    for name, mutations in MUTATIONS.items()
    for number, mutation in enumerate(mutations)
]


@pytest.mark.parametrize("check", all_checks(), ids=lambda check: check.name)
async def test_a_good_server_passes(server: Server, check: Check) -> None:
    outcome = await run_one(check, server, seconds=20)
    assert outcome.result is Result.PASS, outcome.said


@pytest.mark.parametrize(("name", "mutation"), BROKEN)
async def test_a_wrong_server_fails(
    wrong: WrongServer, http: httpx2.AsyncClient, key: str, name: str, mutation: Mutation
) -> None:
    wrong.mutation = mutation
    server = Server(http, base=wrong.url, key=key, model=MODEL)
    outcome = await run_one(CHECKS[name], server, seconds=20)
    assert outcome.result is Result.FAIL, f"{outcome.result}: {outcome.said}"
    assert outcome.said


BUFFERED = "a_stream_is_not_held_back"


@pytest.mark.parametrize("name", [name for name in MUTATIONS if name != BUFFERED])
async def test_forwarding_alone_fails_nothing(
    wrong: WrongServer, http: httpx2.AsyncClient, key: str, name: str
) -> None:
    """So it is the alteration that the checks above saw, not the server between."""
    wrong.mutation = unchanged
    server = Server(http, base=wrong.url, key=key, model=MODEL)
    outcome = await run_one(CHECKS[name], server, seconds=20)
    assert outcome.result is Result.PASS, outcome.said


async def test_no_check_is_without_a_server_that_fails_it() -> None:
    assert set(MUTATIONS) == set(CHECKS)
    assert all(MUTATIONS.values())


async def test_every_check_says_its_rule_and_where_it_is_written() -> None:
    for check in CHECKS.values():
        assert len(check.rule) > 20
        assert check.rests_on
    assert {module.AREA for module in MODULES} == {check.area for check in CHECKS.values()}


async def test_checks_are_chosen_by_name_and_area() -> None:
    assert [check.name for check in chosen(["one_model_is_shown"])] == ["one_model_is_shown"]
    assert {check.area for check in chosen(["tools", "errors"])} == {"tools", "errors"}
    assert chosen([]) == all_checks()
    with pytest.raises(KeyError):
        chosen(["no_such_check"])
