"""What checks stand on: reading JSON strictly, telling refusals apart, waiting when told to."""

import json
from typing import Any

import httpx2
import pytest

from bombyx.conformance.server import Answer, Server
from bombyx.conformance.verdict import Lacks, Wrong, at, expect, is_equal, maybe, shown

ERROR = {"message": "no", "type": "invalid_request_error", "code": None, "param": "n"}


def answer(status: int, document: Any) -> Answer:
    return Answer(status, httpx2.Headers(), json.dumps(document).encode())


@pytest.mark.parametrize(
    ("document", "path", "kind", "says"),
    [
        ({}, ("a",), str, "`a` is missing"),
        ({"a": []}, ("a", 0), str, r"`a\[0\]` is missing"),
        ({"a": None}, ("a", "b"), str, "`a.b` is missing"),
        ({"a": 1}, ("a",), str, "`a` is not a string: 1"),
        ({"a": True}, ("a",), int, "`a` is not an integer: True"),
        ({"a": 1.0}, ("a",), int, "`a` is not an integer"),
        ({"a": "1"}, ("a",), float, "`a` is not a number"),
        ({"a": False}, ("a",), float, "`a` is not a number"),
        ([{}], (0,), list, r"`\[0\]` is not a list"),
    ],
)
def test_a_member_must_be_there_and_of_its_kind(
    document: Any, path: tuple[str | int, ...], kind: type, says: str
) -> None:
    with pytest.raises(Wrong, match=says):
        at(document, *path, kind=kind)


def test_members_that_fit_are_given() -> None:
    assert at({"a": [1]}, "a", 0, kind=int) == 1
    assert at({"a": 1}, "a", kind=float) == 1
    assert at({"a": {}}, "a", kind=dict) == {}
    assert maybe({"a": 1}, "b", "c") is None
    is_equal({"a": 1}, "a", to=1)
    with pytest.raises(Wrong, match="`a` is 1 instead of 2"):
        is_equal({"a": 1}, "a", to=2)
    with pytest.raises(Wrong, match="why"):
        expect(False, "why")  # noqa: FBT003 - as checks call it


def test_long_values_are_shown_in_part() -> None:
    assert len(shown("x" * 1000)) < 130


@pytest.mark.parametrize("status", [400, 404])
def test_a_proper_refusal_of_an_option_is_no_failure(status: int) -> None:
    with pytest.raises(Lacks, match="pictures: refused"):
        answer(status, {"error": ERROR}).if_served("pictures")


@pytest.mark.parametrize(
    "refusal",
    [
        answer(500, {"error": ERROR}),
        answer(422, {"error": ERROR}),
        answer(400, {"detail": "no"}),
        answer(400, {"error": "no"}),
        answer(404, {"error": {**ERROR, "message": ""}}),
        answer(404, {"error": {**ERROR, "code": 404}}),
        answer(400, {"error": {"message": "no", "type": "x"}}),
        answer(400, {"object": "error", "message": "no"}),
        Answer(404, httpx2.Headers(), b"<html>"),
    ],
)
def test_an_improper_refusal_is_a_failure(refusal: Answer) -> None:
    with pytest.raises(Wrong):
        refusal.if_served("pictures")


def test_a_failure_tells_what_the_server_said() -> None:
    with pytest.raises(Wrong, match=r"status 400 instead of 200 \('no'\)"):
        answer(400, {"error": ERROR}).ok()
    with pytest.raises(Wrong, match="status 200 instead of 404"):
        answer(200, []).error(404)


def served_by(answers: list[httpx2.Response]) -> tuple[Server, list[httpx2.Request]]:
    seen: list[httpx2.Request] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return answers[min(len(seen), len(answers)) - 1]

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(handle))
    return Server(http, base="http://test/v1/", key="sk-1", model="m"), seen


async def test_a_limit_is_waited_out_as_sdks_do() -> None:
    server, seen = served_by(
        [httpx2.Response(429, headers={"retry-after": "0"}), httpx2.Response(200, json={})]
    )
    assert (await server.post("/x", {"a": 1})).status == 200
    assert len(seen) == 2
    assert str(seen[0].url) == "http://test/v1/x"
    assert json.loads(seen[0].content) == {"model": "m", "a": 1}
    assert seen[0].headers["authorization"] == "Bearer sk-1"


@pytest.mark.parametrize(
    "headers",
    [{}, {"retry-after": "0", "x-should-retry": "false"}, {"retry-after": "9999"}],
    ids=["no time", "told not to", "too long"],
)
async def test_a_limit_that_stands_is_the_answer(headers: dict[str, str]) -> None:
    server, seen = served_by([httpx2.Response(429, headers=headers)])
    assert (await server.get("/x")).status == 429
    assert len(seen) == 1


async def test_no_check_of_limits_waits() -> None:
    server, seen = served_by([httpx2.Response(429, headers={"retry-after": "0"})])
    assert (await server.get("/x", patient=False)).status == 429
    assert len(seen) == 1


async def test_a_torn_stream_is_wrong() -> None:
    torn = httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=b"data: {")
    server, _ = served_by([torn])
    with pytest.raises(Wrong, match="inside an event"):
        await server.stream("/x", {})
