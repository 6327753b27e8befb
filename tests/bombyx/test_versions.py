"""SPEC 20: one version has one set of algorithms; nothing of another one is taken."""

import json

import msgspec
import pytest

from bombyx import canonical
from bombyx.attestation.keyset import Keyset
from bombyx.canonical import Document
from bombyx.client.effects import Head
from bombyx.client.refusals import PROBLEM_TYPE, read_problem
from bombyx.envelope.header import Header
from bombyx.errors import NotCanonical
from bombyx.link.hello import Challenge, Hello
from bombyx.money.offer import Offer
from bombyx.money.statement import Statement
from tests import factories
from tests.factories import hex_of, worker

VERSIONED: dict[str, tuple[type[Document], Document]] = {
    "header": (Header, factories.header()),
    "statement": (Statement, factories.statement()),
    "keyset": (Keyset, worker().keyset),
    "offer": (Offer, factories.offer()),
    "hello": (Hello, Hello(v="bombyx-link/1", nonce=hex_of("nonce"))),
    "challenge": (
        Challenge,
        Challenge(
            v="bombyx-link/1",
            gateway=hex_of("gateway"),
            url="wss://gateway.example/v1/link",
            nonce=hex_of("nonce"),
            slot=0,
            epoch=0,
            signature="00" * 64,
        ),
    ),
}


@pytest.mark.spec("20-a")
@pytest.mark.parametrize("version", ["bombyx/2", "bombyx/1.1", "bombyx/0", "bombyx/1 ", "", "1"])
@pytest.mark.parametrize("name", VERSIONED)
def test_another_version_is_refused(name: str, version: str) -> None:
    kind, document = VERSIONED[name]
    raw = canonical.encode(document)
    assert canonical.decode(raw, kind) == document
    fields = json.loads(raw)
    assert fields["v"] in {"bombyx/1", "bombyx-link/1"}
    with pytest.raises(NotCanonical):
        canonical.decode(canonical.encode({**fields, "v": version}), kind)


@pytest.mark.spec("20-a")
@pytest.mark.parametrize("name", VERSIONED)
def test_a_document_is_not_extended_by_a_field_that_old_readers_would_skip(name: str) -> None:
    kind, document = VERSIONED[name]
    fields = json.loads(canonical.encode(document))
    with pytest.raises(NotCanonical):
        canonical.decode(canonical.encode({**fields, "new_field": 1}), kind)


@pytest.mark.spec("20-b")
@pytest.mark.parametrize("alg", ["x25519", "mlkem1024-p384", "MLKEM768-X25519", ""])
def test_a_keyset_with_an_unknown_algorithm_is_refused_beside_a_known_one(alg: str) -> None:
    fields = json.loads(canonical.encode(worker().keyset))
    known = fields["hpke"][0]
    for keys in ([{**known, "alg": alg}], [known, {**known, "alg": alg, "id": hex_of("k", 16)}]):
        with pytest.raises(NotCanonical):
            canonical.decode(canonical.encode({**fields, "hpke": keys}), Keyset)


@pytest.mark.spec("20-c")
def test_members_of_a_problem_that_nobody_knows_are_passed_over() -> None:
    refusal = msgspec.to_builtins(factories.refusal())
    document = {
        "type": "urn:bombyx:error:no_candidate",
        "code": "no_candidate",
        "refusals": [refusal],
        "later": {"more": [1, 2.5, None]},
    }
    head = Head(422, (("content-type", PROBLEM_TYPE),))
    problem = read_problem(head, json.dumps(document).encode())
    assert (problem.code, len(problem.refusals)) == ("no_candidate", 1)
