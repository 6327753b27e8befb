"""SPEC 4, 6.8: refusals and dispositions on the link."""

import msgspec
import pytest

from bombyx import canonical
from bombyx.canonical import Document
from bombyx.errors import BadSignature, NotCanonical
from bombyx.link.documents import (
    Ack,
    Disposition,
    Goaway,
    Lost,
    SessionStart,
    SignedRefusal,
    WorkerStatus,
)
from bombyx.money.channel.payout_documents import payout_channel_of
from bombyx.signing import Kind, verify
from tests import factories
from tests.bombyx.money.channel import parties
from tests.factories import GATEWAY, NOW, hex_of, worker

LOST = Lost(gateway=GATEWAY.public_hex, c=hex_of("c"), at=NOW * 1000)


@pytest.mark.parametrize(
    "document",
    [
        factories.refusal(),
        factories.refusal(c=msgspec.UNSET, h=msgspec.UNSET),
        Ack(
            dispositions=[
                Disposition(statement=hex_of("s"), disposition="billed"),
                Disposition(statement=hex_of("s"), disposition="invalid", code="arithmetic"),
                Disposition(
                    statement=hex_of("s"), disposition="superseded", winner=factories.receipt()
                ),
                Disposition(
                    statement=hex_of("s"),
                    disposition="superseded",
                    lost=LOST,
                    lost_signature=GATEWAY.sign(Kind.LOST, LOST).hex(),
                ),
            ]
        ),
        Ack(
            dispositions=[],
            voucher=parties.document(5),
            payout_channel=payout_channel_of(parties.CHANNEL),
        ),
        WorkerStatus(model="m", running=1, waiting=2, slots=3),
        SessionStart(session=hex_of("s", 16), key_id=hex_of("k", 16), wrapped="ab"),
        Goaway(code="draining", message="later", retry=True),
    ],
    ids=lambda document: type(document).__name__,
)
def test_each_document_reads_back(document: Document) -> None:
    assert canonical.decode(canonical.encode(document), type(document)) == document


def test_an_ack_without_news_of_payment_is_what_it_always_was() -> None:
    ack = Ack(dispositions=[Disposition(statement=hex_of("s"), disposition="billed")])
    assert b"voucher" not in canonical.encode(ack)
    assert b"payout" not in canonical.encode(ack)


@pytest.mark.parametrize("field", ["worker", "gateway", "code", "fault", "at", "c", "h"])
def test_every_field_of_a_refusal_is_signed(field: str) -> None:
    signed = factories.refusal()
    signature = bytes.fromhex(signed.signature)
    verify(Kind.REFUSAL, signed.refusal, signature, worker().receipt.public_key)
    changed = msgspec.structs.replace(signed.refusal, **{field: msgspec.UNSET})
    with pytest.raises(BadSignature):
        verify(Kind.REFUSAL, changed, signature, worker().receipt.public_key)


@pytest.mark.parametrize("changes", [{"fault": "nobody"}, {"code": "Busy!"}, {"at": -1}], ids=str)
def test_a_refusal_out_of_bounds_is_refused(changes: dict[str, object]) -> None:
    refusal = msgspec.structs.replace(factories.refusal().refusal, **changes)
    raw = canonical.encode(SignedRefusal(refusal=refusal, signature="00" * 64))
    with pytest.raises(NotCanonical):
        canonical.decode(raw, SignedRefusal)
