"""What gateways pay: checked, kept for the owner, counted once, and only as far as it is true."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bombyx import canonical
from bombyx.link.documents import Ack, Disposition
from bombyx.money.channel.closing import ChannelSigner
from bombyx.money.channel.identity import PAYOUT_CHALLENGE_S, Channel
from bombyx.money.channel.payout import UNSECURED_CREDIT
from bombyx.money.channel.payout_documents import (
    PAYOUTS_FILE,
    SEEN_FILE,
    PayoutFile,
    SeenFile,
    SeenPayout,
    nobodys_key,
    payout_channel_of,
)
from bombyx.money.channel.terms import Ceiling, Voucher, network_text, voucher_of
from bombyx.money.statement import statement_hash
from tests import factories
from tests.bombyx.money.channel.parties import NETWORK, config
from tests.factories import GATEWAY, seed
from tests.worker.peer import until
from worker.ledger import till as till_module
from worker.ledger.journal import Journal
from worker.ledger.payout_books import Payee
from worker.ledger.till import MAX_REPLACED, Rules, Till

NAME = GATEWAY.public_hex
PAYS = ChannelSigner(seed("the gateway's channel key"))
OWNER = hashlib.sha256(b"the owner's wallet").digest()
PAYEE = Payee(OWNER, nobodys_key(OWNER))


def channel(salt: int = 1, **fields: Any) -> Channel:
    given = {
        "client_key": PAYS.public_key,
        "gateway": OWNER,
        "gateway_key": PAYEE.key,
        "challenge_period": PAYOUT_CHALLENGE_S,
        "salt": salt,
    }
    return Channel(NETWORK, config(**given | fields))


def voucher(amount: int, of: Channel | None = None, signer: ChannelSigner = PAYS) -> Voucher:
    of = of or channel()
    return voucher_of(of, Ceiling(amount, 0, signer.sign(of.template, amount)))


def paying(amount: int | None, of: Channel | None = None) -> Ack:
    of = of or channel()
    told = msgspec.UNSET if amount is None else voucher(amount, of)
    return Ack(dispositions=[], voucher=told, payout_channel=payout_channel_of(of))


@dataclass
class Bench:
    """A journal, a till and what the owner is told."""

    folder: Path
    journal: Journal
    till: Till
    told: list[tuple[str, str]] = field(default_factory=list)
    wrong: dict[str, str] = field(default_factory=dict)
    count: int = 0

    async def bill(self, amount: int) -> None:
        """A request that this worker ran and the gateway billed."""
        self.count += 1
        receipt = factories.receipt(
            c=hashlib.sha256(b"%d" % self.count).hexdigest(), amount_nano=str(amount)
        )
        await self.journal.keep(receipt, canonical.encode(receipt))
        name = statement_hash(receipt.statement).hex()
        await self.journal.dispose(NAME, [Disposition(statement=name, disposition="billed")])

    def unpaid(self) -> int:
        return self.journal.unpaid(NAME)

    def file(self) -> PayoutFile:
        return canonical.decode((self.folder / PAYOUTS_FILE).read_bytes(), PayoutFile)

    def see(self, *seen: SeenPayout) -> None:
        path = self.folder / SEEN_FILE
        document = SeenFile(v="bombyx-payouts-seen/1", at=1, seen=list(seen))
        path.with_suffix(".new").write_bytes(canonical.encode(document))
        path.with_suffix(".new").replace(path)

    async def look(self, *seen: SeenPayout) -> None:
        self.see(*seen)
        await self.till.look()

    async def counted(self) -> None:
        """Longer than a voucher needs to count here."""
        await asyncio.sleep(0.05)


def seen(deposited: int, of: Channel | None = None, **fields: Any) -> SeenPayout:
    of = of or channel()
    given: dict[str, Any] = {
        "network": network_text(of.network),
        "channel": of.account.hex(),
        "deposited": str(deposited),
        "claimed": "0",
        "close_at": 0,
        "closed": False,
    }
    return SeenPayout(**given | fields)


async def opened(folder: Path, **rules: Any) -> Bench:
    journal = await Journal.open(folder / "journal.db")
    told: list[tuple[str, str]] = []
    wrong: dict[str, str] = {}

    def tell(name: str, sentence: str) -> None:
        told.append((name, sentence))
        wrong[name] = sentence

    def clear(name: str) -> None:
        wrong.pop(name, None)

    till = Till(
        journal,
        Rules("0:" + OWNER.hex(), rules.pop("payee", PAYEE), **rules),
        folder=folder,
        tell=tell,
        clear=clear,
        counted_after_s=0.01,
    )
    await till.open()
    return Bench(folder, journal, till, told, wrong)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = await opened(tmp_path)
    yield bench
    await bench.till.close()
    await bench.journal.close()


@pytest.mark.spec("8.3-c", "8.8-a", "8.8-c")
async def test_a_voucher_is_kept_at_once_and_covers_bills_as_far_as_the_owner_saw(
    bench: Bench,
) -> None:
    await bench.bill(700)
    await bench.till.take(NAME, paying(700))
    (held,) = bench.file().held
    assert held.voucher == voucher(700)
    assert (held.billed_nano, held.is_current) == ("700", True)
    await bench.counted()
    assert bench.unpaid() == 700
    await bench.look(seen(500))
    assert bench.unpaid() == 200
    await bench.look(seen(10_000))
    assert bench.unpaid() == 0
    await bench.bill(50)
    await bench.till.take(NAME, Ack(dispositions=[], voucher=voucher(800)))
    await bench.counted()
    assert bench.unpaid() == 0
    # What the rise is above our own bills is another worker's of the owner.
    await bench.bill(50)
    assert bench.unpaid() == 50
    assert bench.told == []


@pytest.mark.spec("8.8-c")
async def test_a_deposit_on_another_network_or_channel_counts_nothing(bench: Bench) -> None:
    await bench.bill(700)
    await bench.till.take(NAME, paying(700))
    await bench.counted()
    await bench.look(seen(10**9, network="tvm:-3"), seen(10**9, channel(2)))
    assert bench.unpaid() == 700


@pytest.mark.spec("8.3-b")
async def test_the_limit_is_headroom_and_credit_and_none_once_it_closes(bench: Bench) -> None:
    assert bench.till.limit(NAME) is None
    await bench.look()
    assert bench.till.limit(NAME) == UNSECURED_CREDIT
    assert bench.till.limit("another gateway") == UNSECURED_CREDIT
    await bench.bill(700)
    await bench.till.take(NAME, paying(700))
    await bench.look(seen(1_000))
    await bench.counted()
    assert bench.till.limit(NAME) == UNSECURED_CREDIT + 300
    await bench.look(seen(1_000, close_at=5))
    assert bench.till.limit(NAME) == UNSECURED_CREDIT


@pytest.mark.spec("8.3-b")
async def test_the_owners_limits_count_with_and_without_a_chain(tmp_path: Path) -> None:
    bench = await opened(tmp_path, most=400, unsecured=100)
    assert bench.till.limit(NAME) == 100
    await bench.till.take(NAME, paying(None))
    await bench.look(seen(1_000))
    assert bench.till.limit(NAME) == 400
    await bench.till.close()
    await bench.journal.close()


# --- A gateway that lies ---


@pytest.mark.spec("8.8-b", "8.7-b")
@pytest.mark.parametrize(
    "ack",
    [
        paying(10**6, channel(gateway=b"\x01" * 32)),
        paying(10**6, channel(gateway_key=PAYS.public_key)),
        paying(10**6, channel(challenge_period=3_600)),
        msgspec.structs.replace(
            paying(10**6),
            payout_channel=msgspec.structs.replace(payout_channel_of(channel()), channel="00" * 32),
        ),
        Ack(dispositions=[], voucher=voucher(10**6, channel(2))),
        Ack(dispositions=[], voucher=voucher(10**6, signer=ChannelSigner(seed("a thief")))),
        Ack(
            dispositions=[],
            voucher=msgspec.structs.replace(voucher(10**6), network="tvm:-3"),
        ),
        Ack(dispositions=[], voucher=msgspec.structs.replace(voucher(10**6), valid_until=5)),
    ],
    ids=["payee", "key", "period", "address", "channel", "signature", "network", "expires"],
)
async def test_what_only_pretends_to_pay_changes_nothing_and_is_told(
    bench: Bench, ack: Ack
) -> None:
    await bench.bill(700)
    await bench.till.take(NAME, paying(100))
    await bench.look(seen(10**9))
    await bench.counted()
    before = bench.file()
    await bench.till.take(NAME, ack)
    await bench.counted()
    assert bench.unpaid() == 600
    assert bench.file() == before
    ((name, sentence),) = bench.told
    assert name == f"payment of {NAME[:16]}"
    assert "does not count" in sentence


async def test_a_voucher_before_its_channel_is_told(bench: Bench) -> None:
    await bench.till.take(NAME, Ack(dispositions=[], voucher=voucher(5)))
    assert "never said which channel" in bench.told[0][1]
    assert not (bench.folder / PAYOUTS_FILE).exists()


@pytest.mark.spec("8.8-b")
async def test_a_lower_voucher_changes_nothing(bench: Bench) -> None:
    await bench.bill(700)
    await bench.till.take(NAME, paying(500))
    await bench.look(seen(10**9))
    await bench.till.take(NAME, paying(400))
    await bench.till.take(NAME, paying(500))
    await bench.counted()
    (held,) = bench.file().held
    assert held.voucher == voucher(500)
    assert bench.unpaid() == 200
    assert bench.told == []


async def test_going_back_to_a_channel_covers_nothing_twice(bench: Bench) -> None:
    await bench.bill(700)
    await bench.till.take(NAME, paying(500))
    await bench.look(seen(10**9), seen(10**9, channel(2)))
    await bench.counted()
    assert bench.unpaid() == 200
    await bench.till.take(NAME, paying(None, channel(2)))
    await bench.till.take(NAME, paying(500))
    await bench.counted()
    assert bench.unpaid() == 200
    assert [one.is_current for one in bench.file().held] == [True]


async def test_replaced_channels_are_kept_for_the_owner_and_bounded(bench: Bench) -> None:
    for salt in range(1, MAX_REPLACED + 2):
        await bench.till.take(NAME, paying(salt, channel(salt)))
    assert len(bench.file().held) == MAX_REPLACED + 1
    await bench.till.take(NAME, paying(5, channel(100)))
    assert "too many channels" in bench.told[0][1]
    await bench.look(seen(1, channel(3), closed=True))
    assert len(bench.file().held) == MAX_REPLACED
    await bench.till.take(NAME, paying(5, channel(3)))
    assert "saw closing" in bench.told[1][1]


async def test_a_worker_without_an_address_takes_no_channel(tmp_path: Path) -> None:
    bench = await opened(tmp_path, payee=None)
    await bench.till.take(NAME, paying(5))
    assert "no payout address" in bench.told[0][1]
    assert bench.till.shown(NAME).payout_key is msgspec.UNSET
    await bench.till.close()
    await bench.journal.close()


# --- Restarts ---


@pytest.mark.spec("8.1-a", "8.8-a")
async def test_the_next_process_shows_and_counts_what_was_kept(tmp_path: Path) -> None:
    first = await opened(tmp_path)
    await first.bill(700)
    await first.till.take(NAME, paying(500))
    await first.look(seen(10**9))
    await first.till.close()
    await first.journal.close()
    again = await opened(tmp_path)
    assert again.unpaid() == 200
    shown = again.till.shown(NAME)
    assert (shown.payout_key, shown.voucher) == (PAYEE.key.hex(), voucher(500))
    assert shown.payout_channel == payout_channel_of(channel())
    await again.till.close()
    await again.journal.close()


async def test_a_process_that_is_killed_before_it_counted_counts_later(tmp_path: Path) -> None:
    first = await opened(tmp_path)
    first.till._counted_after_s = 60
    await first.bill(700)
    await first.till.take(NAME, paying(None))
    await first.look(seen(10**9))
    await first.till.take(NAME, paying(500))
    for task in first.till._counting.values():
        task.cancel()
    await asyncio.sleep(0)
    assert first.unpaid() == 700
    await first.journal.close()
    again = await opened(tmp_path)
    assert again.unpaid() == 200
    await again.till.close()
    await again.journal.close()


async def test_a_forged_file_is_worth_nothing(tmp_path: Path) -> None:
    first = await opened(tmp_path)
    await first.bill(700)
    await first.till.take(NAME, paying(500))
    await first.look(seen(10**9))
    await first.till.close()
    await first.journal.close()
    file = first.file()
    forged = msgspec.structs.replace(
        file.held[0], voucher=msgspec.structs.replace(voucher(500), amount="900")
    )
    document = msgspec.structs.replace(file, held=[forged])
    (tmp_path / PAYOUTS_FILE).write_bytes(canonical.encode(document))
    again = await opened(tmp_path)
    assert again.unpaid() == 200
    assert again.till.shown(NAME).voucher == voucher(500)
    await again.till.close()
    await again.journal.close()


async def test_a_lost_journal_leaves_the_vouchers_to_the_owner(tmp_path: Path) -> None:
    first = await opened(tmp_path)
    await first.till.take(NAME, paying(500))
    await first.till.close()
    await first.journal.close()
    for path in list(tmp_path.iterdir()):  # noqa: ASYNC240 - a test
        if path.name != PAYOUTS_FILE:
            path.unlink()
    again = await opened(tmp_path)
    await again.till.take(NAME, paying(500))
    assert again.file().held == first.file().held
    await again.till.close()
    await again.journal.close()


async def test_a_full_disk_is_told_and_the_voucher_comes_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.till.take(NAME, paying(5))
    with monkeypatch.context() as patched:

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        patched.setattr("worker.ledger.till.write_payouts", full)
        await bench.till.take(NAME, paying(9))
    assert "does not count" in bench.told[0][1]
    assert bench.till.shown(NAME).voucher == voucher(5)
    await bench.till.take(NAME, paying(9))
    assert bench.till.shown(NAME).voucher == voucher(9)


# --- What fails, and is well again ---

PAYMENT = f"payment of {NAME[:16]}"


def no_room(*_: object) -> None:
    raise OSError(28, "No space left on device")


async def test_a_full_disk_ends_no_look_and_the_next_one_forgets_what_is_closed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(till_module, "LOOK_AGAIN_S", 0.0)
    await bench.till.take(NAME, paying(5))
    await bench.till.take(NAME, paying(6, channel(2)))
    with monkeypatch.context() as patched:
        patched.setattr(till_module, "write_payouts", no_room)
        await bench.look(seen(1, closed=True))
    assert "No space left" in bench.wrong["payouts"]
    assert len(bench.file().held) == 2
    await bench.till.look()
    (held,) = bench.file().held
    assert held.is_current
    assert bench.wrong == {}


async def test_after_a_look_that_failed_the_next_one_takes_its_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bench.folder / SEEN_FILE).write_bytes(b"nonsense")
    await bench.till.look()
    await bench.till.look()
    assert len(bench.told) == 1
    assert "run `bombyx owner watch`" in bench.wrong["payouts"]
    await bench.look()
    assert bench.till.limit(NAME) is None
    bench.till._look_after = 0.0
    await bench.till.look()
    assert bench.till.limit(NAME) == UNSECURED_CREDIT
    assert bench.wrong == {}


async def test_a_word_that_the_journal_could_not_keep_counts_at_a_later_look(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(till_module, "LOOK_AGAIN_S", 0.0)
    await bench.bill(700)
    await bench.till.take(NAME, paying(700))
    await bench.counted()
    await bench.journal._call(lambda: _rename(bench.journal, "meta", "away"))
    await bench.look(seen(10**9))
    assert "journal cannot be written" in bench.wrong["payouts"]
    assert bench.unpaid() == 700
    await bench.journal._call(lambda: _rename(bench.journal, "away", "meta"))
    await bench.till.look()
    assert "payouts" in bench.wrong, "no try before the journal is well"
    bench.journal.probe()
    await until(lambda: bench.journal.trouble is None)
    await bench.till.look()
    assert bench.wrong == {}
    assert bench.unpaid() == 0


async def test_a_channel_that_could_not_be_kept_replaces_nothing(bench: Bench) -> None:
    await bench.till.take(NAME, paying(5))
    await bench.till.take(NAME, paying(6, channel(2)))
    before = bench.file()
    await bench.journal._call(lambda: _rename(bench.journal, "meta", "away"))
    await bench.till.take(NAME, paying(7, channel(3)))
    await bench.journal._call(lambda: _rename(bench.journal, "away", "meta"))
    await bench.till.take(NAME, paying(6, channel(2)))
    await bench.till.take(NAME, paying(8, channel(2)))
    after = bench.file()
    assert [one.payout_channel for one in after.held] == [one.payout_channel for one in before.held]


async def test_a_voucher_counts_only_once_the_journal_can_be_read(bench: Bench) -> None:
    await bench.till.take(NAME, paying(5))
    await bench.journal._call(lambda: _rename(bench.journal, "billed", "away"))
    await bench.till.take(NAME, paying(9))
    assert "journal cannot be read" in bench.wrong[PAYMENT]
    assert bench.till.shown(NAME).voucher == voucher(5)
    await bench.journal._call(lambda: _rename(bench.journal, "away", "billed"))
    await bench.till.take(NAME, paying(9))
    assert bench.till.shown(NAME).voucher == voucher(9)
    assert bench.wrong == {}


async def test_a_good_voucher_ends_the_notice_of_a_bad_one(bench: Bench) -> None:
    await bench.till.take(NAME, paying(5))
    await bench.till.take(NAME, Ack(dispositions=[], voucher=voucher(9, channel(2))))
    assert PAYMENT in bench.wrong
    await bench.till.take(NAME, paying(None))
    assert PAYMENT in bench.wrong, "a channel alone pays nothing"
    await bench.till.take(NAME, paying(6))
    assert bench.wrong == {}


def _rename(journal: Journal, before: str, after: str) -> None:
    journal._file._db.execute(f"ALTER TABLE {before} RENAME TO {after}")
