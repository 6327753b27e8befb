"""Event logs lead to the registers only by digests that are computed from their payloads."""

import json
from typing import Any

import pytest

from bombyx.attestation.event_log import (
    MAX_EVENTS,
    MAX_LOG_BYTES,
    Event,
    check_event_log,
    parse_event_log,
    runtime_digest,
    runtime_event,
)
from bombyx.attestation.tdx.raw import parse_raw_quote
from bombyx.attestation.tdx_quote import TdxQuote
from bombyx.errors import EvidenceRefused
from tests.bombyx.attestation import tee

GENUINE = tee.document("dstack/tdx-lite-getquote.json")
_, QUOTE = parse_raw_quote(bytes.fromhex(GENUINE["quote"]))
REGISTERS = QUOTE.rtmrs if isinstance(QUOTE, TdxQuote) else ()
LOG: list[dict[str, Any]] = (
    json.loads(GENUINE["event_log"])
    if isinstance(GENUINE["event_log"], str)
    else GENUINE["event_log"]
)


def changed(name: str, **fields: Any) -> list[dict[str, Any]]:
    return [{**one, **fields} if one["event"] == name else one for one in LOG]


def parse(log: Any) -> tuple[Event, ...]:
    return parse_event_log(json.dumps(log).encode())


def filled(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The log with the digests that its payloads have."""
    return [
        {**one, "digest": runtime_digest(event).hex()} if event.imr == 3 else one
        for one, event in zip(log, parse(log), strict=True)
    ]


@pytest.mark.spec("17.9-a")
def test_a_genuine_log_leads_to_its_quote() -> None:
    assert len(LOG) == 29
    check_event_log(parse(LOG), REGISTERS)
    check_event_log(parse(filled(LOG)), REGISTERS)


@pytest.mark.spec("17.9-a")
@pytest.mark.parametrize(
    "log",
    [
        changed("compose-hash", event_payload="00" * 32),
        [*filled(LOG)[:-1], {**filled(LOG)[-1], "event_payload": "00"}],
        changed("app-id", event="app-ld"),
        changed("app-id", event_type=1),
        LOG[:-1],
        [*LOG, LOG[-1]],
        [LOG[1], LOG[0], *LOG[2:]],
    ],
)
def test_a_changed_log_leads_elsewhere(log: list[dict[str, Any]]) -> None:
    with pytest.raises(EvidenceRefused) as caught:
        check_event_log(parse(log), REGISTERS)
    assert caught.value.code == "event_log_mismatch"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "evidence_malformed"),
        (b"{}", "evidence_malformed"),
        (json.dumps(changed("app-id", digest="00" * 49)).encode(), "evidence_malformed"),
        (json.dumps(changed("app-id", digest="AA")).encode(), "evidence_malformed"),
        (json.dumps(changed("app-id", imr=4)).encode(), "evidence_malformed"),
        (json.dumps(changed("app-id", event_payload="0")).encode(), "evidence_malformed"),
        (json.dumps([LOG[0]] * (MAX_EVENTS + 1)).encode()[:MAX_LOG_BYTES], "evidence_malformed"),
        (bytes(MAX_LOG_BYTES + 1), "evidence_too_large"),
    ],
)
def test_what_is_no_log_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(EvidenceRefused) as caught:
        parse_event_log(data)
    assert caught.value.code == code


def test_a_runtime_event_is_found_by_its_name_once() -> None:
    events = parse(LOG)
    found = runtime_event(events, "compose-hash")
    assert found is not None
    assert len(found) == 32
    assert runtime_event(events, "no such") is None
    assert runtime_event((*events, *events), "compose-hash") is None
