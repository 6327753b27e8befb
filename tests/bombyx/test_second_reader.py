"""Is SPEC.md enough? A reader that knows nothing else reads our vectors, and what we seal today."""

import json
from collections.abc import Callable

import pytest
from cryptography.exceptions import InvalidSignature, InvalidTag

from bombyx import canonical
from tests import factories
from tests.factories import seed, worker
from tests.vectors import make_vectors, second_reader

STORED = make_vectors.load()
REQUEST, RESPONSE, RECEIPTS = STORED["request"], STORED["response"], STORED["receipts"]
REFUSED = (ValueError, KeyError, IndexError, OverflowError, InvalidTag, InvalidSignature, TypeError)


def raw(text: str) -> bytes:
    return bytes.fromhex(text)


def as_worker(number: int, data: bytes) -> second_reader.Request:
    entry = REQUEST["wraps"][number]
    return second_reader.open_request(
        data,
        entry["worker"],
        mlkem_seed=raw(entry["mlkem_seed"]),
        x25519_seed=raw(entry["x25519_seed"]),
    )


@pytest.mark.spec("2.8-a", "2.9-a", "2.9-b")
@pytest.mark.parametrize("number", [0, 1])
def test_it_opens_the_stored_request_as_either_worker(number: int) -> None:
    opened = as_worker(number, raw(REQUEST["encoded"]))
    assert opened.body.decode() == REQUEST["body"]
    assert opened.response_secret.hex() == REQUEST["response_secrets"][number]
    assert (opened.h.hex(), opened.c.hex()) == (REQUEST["h"], REQUEST["c"])


@pytest.mark.spec("2.8-b", "2.2-a")
@pytest.mark.parametrize("size", [1, 1000, 9000, 2**20 + 5, 2_500_000])
def test_it_opens_what_the_library_seals(size: int) -> None:
    body = b'{"pad":"' + b"x" * size + b'"}'
    keys = worker("a")
    opened = second_reader.open_request(
        factories.sealed_request(body, [keys]).encode(),
        keys.id,
        mlkem_seed=seed("a mlkem", 64),
        x25519_seed=seed("a x25519"),
    )
    assert opened.body == body


@pytest.mark.spec("3.1-a", "3.3-a", "3.3-b", "3.4-a")
@pytest.mark.parametrize("padding", ["bucket", "exact"])
def test_it_opens_the_stored_answers(padding: str) -> None:
    steps = RESPONSE[padding]
    stream = raw(RESPONSE["salt"]) + b"".join(raw(step["frame"]) for step in steps)
    answer = second_reader.open_answer(stream, raw(RESPONSE["h"]), raw(RESPONSE["secret"]))
    assert answer.data == b"data: 1\n\n"
    assert answer.head["status"] == 200
    assert answer.errors == [b'{"error":{}}']
    told = [
        (step["payload"].encode(), step["resp_ct_hash"], step["resp_ct_bytes"])
        for step in steps
        if step["step"] == "usage"
    ]
    assert answer.usages == told
    assert answer.end["statement"] == steps[-1]["statement"]


@pytest.mark.spec("1.5-a", "1.5-c", "1.4-a")
@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 63, 64])
def test_it_checks_the_receipts_of_batches_of_any_size(count: int) -> None:
    statements = [factories.statement(worker("a"), n=n, seq=n) for n in range(7, 7 + count)]
    for receipt in factories.receipts(statements, worker("a").receipt):
        data = canonical.encode(receipt)
        checked = second_reader.check_receipt(data, worker("a").receipt.public_hex)
        assert checked == json.loads(canonical.encode(receipt.statement))


def test_it_checks_the_stored_receipts() -> None:
    for entry in RECEIPTS["receipts"]:
        second_reader.check_receipt(entry["receipt"].encode(), RECEIPTS["receipt_key"])


READERS: dict[str, Callable[[bytes], object]] = {
    "sealed_request": lambda data: as_worker(0, data),
    "response": lambda data: second_reader.open_answer(
        data, raw(RESPONSE["h"]), raw(RESPONSE["secret"])
    ),
    "receipt": lambda data: second_reader.check_receipt(data, RECEIPTS["receipt_key"]),
}
NEGATIVE = [case for case in STORED["negative"]["cases"] if case["reader"] in READERS]


@pytest.mark.parametrize(
    "case", NEGATIVE, ids=[f"{case['reader']}: {case['case']}" for case in NEGATIVE]
)
def test_it_refuses_what_must_be_refused(case: dict[str, str]) -> None:
    with pytest.raises(REFUSED):
        READERS[case["reader"]](raw(case["input"]))
