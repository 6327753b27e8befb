"""SPEC 2.1: the header, its bytes and its hash."""

import hashlib
from typing import Any

import msgspec
import pytest

from bombyx import canonical
from bombyx.envelope.header import MAX_HEADER_BYTES, check_issued_at, hash_header, parse_header
from bombyx.errors import ClockAhead, ClockSkew, MalformedHeader
from tests import factories
from tests.factories import NOW, candidate, header, hex_of, worker


def test_a_header_reads_back_with_its_hash() -> None:
    for document in (header(), header(channel="0:ab", cache_shard="s-1", tier="bare")):
        hashed = hash_header(document)
        assert parse_header(hashed.raw) == hashed
        assert hashed.h == hashlib.sha256(hashed.raw).digest()


@pytest.mark.parametrize("field", header().__struct_fields__)
def test_every_field_changes_the_hash(field: str) -> None:
    others: dict[str, Any] = {
        "v": "bombyx/2",
        "method": "GET",
        "path": "/v1/other",
        "model": "other",
        "stream": False,
        "tier": "bare",
        "candidates": [candidate(worker("other"))],
        "max_cost_nano": "1",
        "channel": "a",
        "cache_shard": "a",
        "id": hex_of("other", 16),
        "gateway": hex_of("other"),
        "payer": hex_of("other"),
    }
    assert factories.hashed_header(**{field: others.get(field, 1)}).h != factories.hashed_header().h


@pytest.mark.spec("1.6-b")
@pytest.mark.parametrize(
    "changes",
    [
        {"v": "bombyx/2"},
        {"id": hex_of("x", 16).upper()},
        {"gateway": "00"},
        {"method": "GET"},
        {"path": "/v1/../admin"},
        {"path": "/v1/chat?x=1"},
        {"path": "/v1/" + "a" * 64},
        {"model": ""},
        {"model": "a b"},
        {"stream": 1},
        {"tier": "clear"},
        {"payer": "zz" * 32},
        {"issued_at": -1},
        {"issued_at": 2**53},
        {"max_input_tokens": 1.5},
        {"max_output_tokens": 0},
        {"max_cost_nano": 5},
        {"max_cost_nano": "05"},
        {"max_cost_nano": "1" * 19},
        {"fee_bps": 10_001},
        {"candidates": []},
        {"candidates": [candidate(worker(str(number))) for number in range(9)]},
        {"channel": "a b"},
        {"cache_shard": "a/b"},
        {"cache_shard": None},
    ],
    ids=str,
)
def test_a_value_out_of_bounds_is_refused(changes: dict[str, object]) -> None:
    raw = canonical.encode(msgspec.to_builtins(header()) | changes)
    with pytest.raises(MalformedHeader):
        parse_header(raw)


@pytest.mark.spec("2.1-a", "2.1-b")
def test_eight_candidates_are_allowed_and_fit() -> None:
    raw = hash_header(header([worker(str(number)) for number in range(8)])).raw
    assert len(parse_header(raw).header.candidates) == 8


@pytest.mark.spec("2.1-b")
def test_a_worker_named_twice_is_refused() -> None:
    raw = hash_header(header([worker(), worker()])).raw
    with pytest.raises(MalformedHeader, match="twice"):
        parse_header(raw)


@pytest.mark.spec("2.1-a")
def test_a_long_header_is_refused_before_it_is_read() -> None:
    with pytest.raises(MalformedHeader, match="16 KiB"):
        parse_header(b" " * (MAX_HEADER_BYTES + 1))


@pytest.mark.parametrize("skew", [-300, 0, 300])
def test_five_minutes_of_skew_are_accepted(skew: int) -> None:
    check_issued_at(NOW + skew, NOW)


@pytest.mark.spec("4-j", "4.1-c")
def test_an_old_header_is_skew_and_a_future_one_is_ahead() -> None:
    with pytest.raises(ClockSkew) as old:
        check_issued_at(NOW - 301, NOW)
    with pytest.raises(ClockAhead) as ahead:
        check_issued_at(NOW + 301, NOW)
    assert old.value.param == ahead.value.param == "issued_at"
