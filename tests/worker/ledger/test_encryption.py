"""SPEC 21: the journal opens to its own key alone, and says so; it never begins anew by itself."""

import os
import sqlite3
from pathlib import Path

import pytest

from bombyx import canonical
from bombyx.errors import SetupError
from bombyx.money.receipt import Receipt
from tests.worker.ledger.samples import GATEWAY, document, make_receipt, make_scribe, word
from worker.ledger.journal import Journal
from worker.ledger.rollback import judge
from worker.sealing.cipher import Cipher, Unreadable
from worker.sealing.port import SealingKey

KEY, OTHER = b"\1" * 32, b"\2" * 32
OLD_SCHEMA = """
CREATE TABLE keyset (worker TEXT PRIMARY KEY, document BLOB NOT NULL) STRICT;
CREATE TABLE receipt (
    statement TEXT PRIMARY KEY, gateway TEXT NOT NULL, worker TEXT NOT NULL, boot TEXT NOT NULL,
    n INTEGER NOT NULL, at INTEGER NOT NULL, amount INTEGER NOT NULL, document BLOB NOT NULL,
    c TEXT NOT NULL
) STRICT;
CREATE TABLE billed (gateway TEXT PRIMARY KEY, amount INTEGER NOT NULL) STRICT;
"""


class Given:
    """A `Sealing` whose key a test names, with a counter that a test may hold."""

    name = "given"
    promise = "a test keeps the key"

    def __init__(self, key: bytes = KEY, counter: "Count | None" = None) -> None:
        self._key = key
        self._counter = counter

    async def key(self, journal: Path) -> SealingKey:
        return SealingKey(self._key, self.name, self._counter)

    async def used(self, journal: Path) -> None:
        pass


class Count:
    """A counter that nothing sets back."""

    def __init__(self) -> None:
        self.value = 7

    def read(self) -> int:
        return self.value

    def raise_once(self) -> int:
        self.value += 1
        return self.value


async def _filled(path: Path, sealing: Given | None = None) -> bytes:
    journal = await Journal.open(path, sealing)
    scribe = make_scribe()
    receipts = [make_receipt(scribe, 1), make_receipt(scribe, 2)]
    for receipt in receipts:
        await journal.keep(receipt, document(receipt))
    await journal.dispose(GATEWAY, [word(receipts[0])])
    await journal.close()
    return document(receipts[1])


async def test_nothing_of_a_statement_lies_on_disk_in_the_clear(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    kept = await _filled(path)
    raw = _raw(path)
    receipt = canonical.decode(kept, Receipt)
    for secret in (receipt.statement.payer, receipt.statement.c, receipt.signature):
        assert secret.encode() not in raw
    assert b"payer" not in raw


def _raw(path: Path) -> bytes:
    """The file, and the log beside it."""
    return b"".join(one.read_bytes() for one in path.parent.glob(f"{path.name}*"))


def names(folder: Path) -> set[str]:
    return {one.name for one in folder.iterdir()}


async def test_a_journal_in_the_clear_is_encrypted_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    receipt = make_receipt(make_scribe(), 1)
    clear = document(receipt)
    old = sqlite3.connect(path)
    old.execute("PRAGMA journal_mode=WAL")
    old.executescript(OLD_SCHEMA)
    row = ("s" * 64, GATEWAY, "w" * 64, "b" * 32, 3, 44, 500, clear, "c" * 64)
    old.execute("INSERT INTO receipt VALUES (?,?,?,?,?,?,?,?,?)", row)
    old.execute("INSERT INTO keyset VALUES (?,?)", ("w" * 64, b"the keyset"))
    old.execute("INSERT INTO billed VALUES (?,?)", (GATEWAY, 1000))
    old.commit()
    old.close()
    for _ in range(2):
        journal = await Journal.open(path)
        assert journal.unpaid(GATEWAY) == 1500
        (entry,) = await journal.undisposed(GATEWAY)
        assert (entry.document, entry.n, entry.at, entry.c) == (clear, 3, 44, "c" * 64)
        assert await journal.keyset("w" * 64) == b"the keyset"
        raw = _raw(path)
        assert clear[:60] not in raw
        assert b"the keyset" not in raw
        await journal.close()


async def test_a_key_in_a_file_is_its_owners_alone(tmp_path: Path) -> None:
    await _filled(tmp_path / "journal.db")
    key = tmp_path / "journal.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert names(tmp_path) == {"journal.db", "journal.key"}
    key.chmod(0o640)
    with pytest.raises(SetupError, match=r"journal\.key may be read by others.*chmod 600"):
        await Journal.open(tmp_path / "journal.db")


async def test_a_start_that_was_cut_short_leaves_nothing_to_mend(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    await _filled(path)
    (tmp_path / "journal.key").rename(tmp_path / "journal.key-new")
    journal = await Journal.open(path)
    assert len(await journal.undisposed(GATEWAY)) == 1
    assert await journal.waiting() == 1
    await journal.close()
    path.unlink()
    (tmp_path / "journal.key").rename(tmp_path / "journal.key-new")
    await (await Journal.open(path)).close()


def _other_key(path: Path) -> None:
    path.with_suffix(".key").write_text("ab" * 32)


def _no_key(path: Path) -> None:
    path.with_suffix(".key").unlink()


def _half_a_key(path: Path) -> None:
    path.with_suffix(".key").write_text("ab")


def _no_journal(path: Path) -> None:
    path.unlink()


def _no_database(path: Path) -> None:
    path.write_bytes(b"not a database, " * 500)


def _flipped(path: Path) -> None:
    """One bit of a value."""
    database = sqlite3.connect(path)
    ((name, sealed),) = database.execute("SELECT statement, sealed FROM receipt").fetchall()
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    database.execute("UPDATE receipt SET sealed = ? WHERE statement = ?", (changed, name))
    database.commit()
    database.close()


def _moved(path: Path) -> None:
    """A value under another gateway's name."""
    database = sqlite3.connect(path)
    database.execute("UPDATE receipt SET gateway = 'another'")
    database.commit()
    database.close()


def _newer(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 3")
    database.close()


@pytest.mark.spec("21-a")
@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_other_key, r"journal\.db is under another key, of kind file.*move it away"),
        (_no_key, r"journal\.db is under another key"),
        (_half_a_key, r"journal\.key is damaged.*bring back its copy"),
        (_no_journal, r"journal\.db is gone and its key is here: bring it back, or move"),
        (_no_database, r"journal\.db is damaged \(.*bring back its newest copy"),
        (_flipped, r"journal\.db is damaged \(the value of receipt/.*bring back"),
        (_moved, r"journal\.db is damaged \(the value of receipt/.*another"),
        (_newer, r"journal\.db is of a newer Bombyx"),
    ],
)
async def test_a_journal_that_cannot_be_used_is_named_with_the_way_out(
    tmp_path: Path, spoil: object, sentence: str
) -> None:
    path = tmp_path / "journal.db"
    await _filled(path)
    assert callable(spoil)
    spoil(path)
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(SetupError, match=sentence):
        await Journal.open(path)
    after = path.read_bytes() if path.exists() else None
    assert after == before, "a refusal must leave the file as it was"


async def test_the_key_is_checked_before_a_value_is_read(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    await _filled(path, Given(KEY))
    with pytest.raises(SetupError, match="of kind given, and this one is of kind given"):
        await Journal.open(path, Given(OTHER))
    journal = await Journal.open(path, Given(KEY))
    assert len(await journal.undisposed(GATEWAY)) == 1
    await journal.close()


@pytest.mark.spec("21-b")
async def test_without_a_counter_a_rollback_is_unknown(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path / "journal.db")
    assert journal.rollback.verdict == "unknown"
    await journal.close()


@pytest.mark.spec("21-b")
async def test_an_old_copy_is_noticed_by_the_machines_counter(tmp_path: Path) -> None:
    path, sealing = tmp_path / "journal.db", Given(counter=Count())
    await _filled(path, sealing)
    old = path.read_bytes()
    journal = await Journal.open(path, sealing)
    assert journal.rollback.verdict == "none"
    await journal.close()
    path.write_bytes(old)
    journal = await Journal.open(path, sealing)
    assert journal.rollback.verdict == "noticed"
    assert "old copy: it was opened or closed 2 times since" in journal.rollback.reason
    await journal.close()


async def test_a_cut_between_journal_and_counter_is_no_rollback(tmp_path: Path) -> None:
    path, count = tmp_path / "journal.db", Count()
    await _filled(path, Given(counter=count))
    count.value -= 1
    journal = await Journal.open(path, Given(counter=count))
    assert journal.rollback.verdict == "none"
    await journal.close()


@pytest.mark.parametrize(
    ("kept", "counted", "verdict"),
    [
        (None, None, "unknown"),
        (5, None, "unknown"),
        (None, 5, "none"),
        (5, 5, "none"),
        (6, 5, "none"),
        (4, 5, "noticed"),
        (7, 5, "noticed"),
    ],
)
def test_a_journal_behind_its_counter_was_put_back(
    kept: int | None, counted: int | None, verdict: str
) -> None:
    assert judge(kept=kept, counted=counted).verdict == verdict


async def test_words_about_statements_that_it_never_held_are_counted(tmp_path: Path) -> None:
    """What a gateway says of an old copy's future is the one trace where there is no counter."""
    path = tmp_path / "journal.db"
    journal = await Journal.open(path)
    scribe = make_scribe()
    known, strange = make_receipt(scribe, 1), make_receipt(scribe, 2)
    await journal.keep(known, document(known))
    await journal.dispose(GATEWAY, [word(known)])
    await journal.dispose(GATEWAY, [word(known)])
    assert journal.strangers == 0
    await journal.dispose(GATEWAY, [word(strange)])
    assert journal.strangers == 1
    await journal.close()


async def test_the_payout_address_passes_to_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = await Journal.open(path)
    assert await journal.payout("unset") == "unset"
    assert await journal.payout("wallet:1") == "wallet:1"
    await journal.close()
    journal = await Journal.open(path)
    assert await journal.payout("unset") == "wallet:1"
    assert await journal.payout("wallet:2") == "wallet:2"
    assert await journal.kept_payout() == "wallet:2"
    await journal.close()


def test_a_value_opens_in_its_own_place_alone() -> None:
    cipher = Cipher(os.urandom(32))
    sealed = cipher.seal("a/1", b"value")
    assert cipher.open("a/1", sealed) == b"value"
    assert cipher.seal("a/1", b"value") != sealed
    for place, bytes_ in (("a/2", sealed), ("a/1", sealed[1:]), ("a/1", b""), ("a/1", bytes(40))):
        with pytest.raises(Unreadable):
            cipher.open(place, bytes_)
