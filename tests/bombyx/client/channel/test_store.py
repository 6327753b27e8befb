"""A channel's folder: one process, whole files, nothing forgotten (SPEC 7.9)."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bombyx.client.channel import store as store_module
from bombyx.client.channel.asked import read_asked
from bombyx.client.channel.lock import FolderLock
from bombyx.client.channel.records import decode_books, encode_books
from bombyx.client.channel.store import (
    BOOKS,
    KEY,
    RECORD,
    ChannelStore,
    create_channel,
    read_purse,
    read_record,
)
from bombyx.client.channel.wallet import Wallet, give_back, open_payer
from bombyx.errors import SetupError
from bombyx.files.durable import replace_durably
from bombyx.money.channel.spending import Flight, Purse
from tests.bombyx.client.channel.conftest import CAPS, DEPOSIT, lay_down
from tests.bombyx.client.conftest import Clock
from tests.factories import seed

FULL = Purse(
    deposited=10,
    signed_max=7,
    proven=3,
    inflight={b"\x01" * 32: Flight(2, 100, 1), b"\x02" * 32: Flight(2, 101, 1, corrected=True)},
    lapsed={b"\x03" * 32: Flight(1, 50, 0)},
    topping_up=4,
    day=1,
    spent_today=6,
    closing=True,
    alarm="gateway_lied",
)


@pytest.fixture
def folder(root: Path) -> Path:
    return lay_down(root)


@pytest.fixture
def store(folder: Path) -> Iterator[ChannelStore]:
    store = ChannelStore(folder)
    yield store
    store.close()


def test_a_purse_reads_as_it_was_written(store: ChannelStore) -> None:
    assert decode_books(encode_books(FULL, store.name), store.name) == FULL
    store.save(FULL).result()
    store.close()
    again = ChannelStore(store.folder)
    assert again.saved == FULL
    again.close()


def test_every_file_is_its_owners_alone(store: ChannelStore) -> None:
    store.save(FULL).result()
    store.beside("asked/x.json", lambda: b"{}")
    store.close()
    paths = [store.folder, *store.folder.rglob("*")]
    assert {path.name for path in paths} >= {RECORD, BOOKS, KEY, "lock", "x.json"}
    assert [path for path in paths if path.stat().st_mode & 0o077] == []


@pytest.mark.spec("7.9-b")
def test_only_what_is_on_disk_is_saved(
    store: ChannelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    fsync, rename = os.fsync, Path.replace

    def synced(at: int) -> None:
        order.append("fsync")
        fsync(at)

    def renamed(old: Path, new: Path) -> Path:
        order.append("rename")
        return rename(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    saving = store.save(FULL)
    assert saving.result() == store.saved
    assert order == ["fsync", "rename", "fsync"]


def test_many_changes_at_once_cost_few_writes(
    store: ChannelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[int] = []
    write = replace_durably

    def counted(path: Path, data: bytes) -> None:
        writes.append(1)
        write(path, data)

    monkeypatch.setattr(store_module, "replace_durably", counted)
    savings = [store.save(Purse(deposited=amount)) for amount in range(200)]
    assert all(one.result().deposited >= amount for amount, one in enumerate(savings))
    assert len(writes) < 200
    assert store.saved.deposited == 199


def test_a_disk_that_refuses_is_an_error_and_nothing_counts_as_saved(
    store: ChannelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: Path, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module, "replace_durably", full)
    with pytest.raises(SetupError, match="No space left"):
        store.save(FULL).result()
    assert store.saved == Purse()
    monkeypatch.undo()
    assert store.save(FULL).result() == FULL


def test_a_closed_store_saves_nothing(store: ChannelStore) -> None:
    store.close()
    assert store.is_closed
    store.beside("asked/x.json", lambda: b"{}")
    with pytest.raises(SetupError, match="given back"):
        store.save(FULL).result()


def test_two_processes_cannot_sign_for_one_channel(store: ChannelStore) -> None:
    code = (
        "import sys; from pathlib import Path; "
        "from bombyx.client.channel.store import ChannelStore; "
        "from bombyx.errors import SetupError\n"
        "try:\n ChannelStore(Path(sys.argv[1]))\n"
        "except SetupError as error:\n print(error.message)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(store.folder)], capture_output=True, text=True, check=True
    ).stdout
    assert f"in use by process {os.getpid()}" in told
    assert "bombyx proxy" in told


def test_a_dead_holder_leaves_no_lock(folder: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; "
        "from bombyx.client.channel.store import ChannelStore; "
        "ChannelStore(Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], check=False)
    assert done.returncode == -signal.SIGKILL
    ChannelStore(folder).close()


def test_a_lock_that_says_nothing_still_refuses(tmp_path: Path) -> None:
    held = FolderLock(tmp_path, name="one")
    (tmp_path / "lock").write_text("")
    with pytest.raises(SetupError, match="another process"):
        FolderLock(tmp_path, name="one")
    held.close()
    held.close()
    FolderLock(tmp_path, name="one").close()
    with pytest.raises(SetupError, match="cannot be locked"):
        FolderLock(tmp_path / "absent", name="one")


def test_sessions_of_one_process_share_a_channel(folder: Path, clock: Clock) -> None:
    one = open_payer(folder, CAPS, clock=clock)
    assert open_payer(folder, CAPS, clock=clock) is one
    give_back(one)
    assert not one.is_closed
    give_back(one)
    assert one.is_closed
    other = open_payer(folder, CAPS, clock=clock)
    assert other is not one
    other.close()
    assert open_payer(folder, CAPS, clock=clock) is not other


def test_files_that_were_changed_are_refused(folder: Path, root: Path) -> None:
    intact = {name: (folder / name).read_bytes() for name in (RECORD, BOOKS, KEY)}
    record = json.loads(intact[RECORD])
    record["registration"]["salt"] = "8"
    changed = json.dumps(record, separators=(",", ":"), sort_keys=True).encode()
    other = encode_books(Purse(), "00" * 32)
    wrong = [
        (RECORD, b"{}", "is broken"),
        (RECORD, changed, "another's"),
        (BOOKS, b"", "are broken"),
        (BOOKS, other, "not the books"),
        (KEY, b"xx\n", "32 bytes in hex"),
        (KEY, b"11\n", "32 bytes in hex"),
        (KEY, seed("x").hex().encode(), "another channel"),
    ]
    for name, data, why in wrong:
        (folder / name).write_bytes(data)
        with pytest.raises(SetupError, match=why):
            ChannelStore(folder)
        (folder / name).write_bytes(intact[name])
    for name in (RECORD, BOOKS, KEY):
        (folder / name).unlink()
        with pytest.raises(SetupError):
            ChannelStore(folder)
        (folder / name).write_bytes(intact[name])
        (folder / name).chmod(0o600)
    ChannelStore(folder).close()
    with pytest.raises(SetupError, match="cannot be written"):
        lay_down(root)


def test_a_channel_is_none_before_its_record_is_there(root: Path, folder: Path) -> None:
    record = read_record(folder)
    (folder / RECORD).unlink()
    assert Wallet(root, CAPS, clock=Clock()).open_for("http://gateway") == []
    with pytest.raises(SetupError):
        create_channel(root, record, seed("session key"))


def test_a_broken_note_beside_the_books_is_as_if_lost(folder: Path) -> None:
    (folder / "asked").mkdir()
    assert read_asked(folder, bytes(32)) is None
    (folder / "asked" / f"{bytes(32).hex()}.json").write_bytes(b"{")
    assert read_asked(folder, bytes(32)) is None


CRASH = """
import os, sys
from pathlib import Path
from bombyx.client.channel.store import ChannelStore
from bombyx.money.channel import spending
from tests.bombyx.client.channel.conftest import CAPS
store = ChannelStore(Path(sys.argv[1]))
purse, due = spending.spend(
    store.saved, CAPS, c=bytes(32), cost=1_000, deadline=2_000_000_000, now=1_800_000_000
)
assert due
store.save(purse).result()
print(spending.voucher(store.saved, store.channel, store.signer).amount, flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.mark.spec("7.9-b")
def test_a_crash_between_saving_and_sending_loses_headroom_only(funded: Path, clock: Clock) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CRASH, str(funded)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[4],
    )
    assert done.returncode == -signal.SIGKILL
    signed = int(done.stdout)
    purse = read_purse(funded, read_record(funded))
    assert purse.signed_max == signed == 4_000
    assert (purse.deposited, purse.proven, purse.reserved) == (DEPOSIT, 0, 1_000)
    one = open_payer(funded, CAPS, clock=clock)
    clock.now = 2_000_000_001
    (c,) = one.overdue(4)
    one.late(c, None)
    assert one.purse.reserved == 0
    assert one.voucher()[0] == signed
    one.close()


def test_old_losses_are_forgotten_at_the_start(funded: Path, clock: Clock) -> None:
    one = open_payer(funded, CAPS, clock=clock)
    one.change(lambda purse: replace(purse, lapsed={bytes(32): Flight(1, 5, 0)})).result()
    one.close()
    again = open_payer(funded, CAPS, clock=clock)
    assert again.purse.lapsed == {}
    again.close()
