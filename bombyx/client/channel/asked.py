"""What a receipt that comes late is held against (SPEC 7.9), kept beside the books.

A session forgets a request with its answer; the books must be able to check its receipt days later,
also after a restart. No content: digests, limits, offers and the keys of the workers asked.
"""

from contextlib import suppress
from pathlib import Path

import msgspec

from bombyx import canonical
from bombyx.client.receipts import Sealed, claim_of
from bombyx.errors import BadReceipt, BadSignature, NotCanonical
from bombyx.money.receipt import Receipt, verify_receipt
from bombyx.money.settlement import Claim, check_statement
from bombyx.money.statement import Statement

FOLDER = "asked"
MAX_BYTES = 65_536
"""Three candidates need about 3,000."""


class AskedWorker(msgspec.Struct, frozen=True):
    """One that the request was sealed to: the claim as it would have it, and its keys in hex."""

    claim: Claim
    receipt_key: str
    boot: str


class Asked(msgspec.Struct, frozen=True):
    """A request by its candidates' ids."""

    workers: dict[str, AskedWorker]


def asked_of(sealed: Sealed) -> Asked:
    """What to keep of a sealed request."""
    return Asked(
        {
            worker: AskedWorker(
                claim_of(sealed, chosen, ticket=""),
                chosen.worker.keyset.receipt_key,
                chosen.worker.keyset.boot,
            )
            for worker, chosen in sealed.chosen.items()
        }
    )


def encode_asked(asked: Asked) -> bytes:
    """As it lies on disk."""
    return msgspec.json.encode(asked)


def read_asked(folder: Path, c: bytes) -> Asked | None:
    """What was kept; None where it is lost, so that its receipt proves nothing here."""
    with (
        suppress(OSError, msgspec.DecodeError, UnicodeDecodeError),
        (folder / place(c)).open("rb") as file,
    ):
        return msgspec.json.decode(file.read(MAX_BYTES), type=Asked)
    return None


def place(c: bytes) -> str:
    """The file of a request, below the channel's folder."""
    return f"{FOLDER}/{c.hex()}.json"


def verify_late(asked: Asked, document: bytes) -> Statement:
    """The statement of a genuine receipt of this request (SPEC 3.9); raises `BadReceipt`."""
    try:
        receipt = canonical.decode(document, Receipt)
        worker = asked.workers.get(receipt.statement.worker)
        if worker is None:
            raise BadReceipt("the receipt is by a worker that was not asked")
        verify_receipt(receipt, bytes.fromhex(worker.receipt_key))
    except (NotCanonical, BadSignature) as error:
        raise BadReceipt(f"the receipt is not genuine: {error.message}") from None
    statement = receipt.statement
    # The ticket is the gateway's, opaque to us.
    attempt = msgspec.structs.replace(worker.claim.attempts[0], ticket=statement.ticket)
    check_statement(
        statement, msgspec.structs.replace(worker.claim, attempts=(attempt,)), passed=None
    )
    if statement.boot != worker.boot:
        raise BadReceipt("the receipt is of another life of its worker")
    return statement
