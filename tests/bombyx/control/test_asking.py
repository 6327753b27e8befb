"""One order, one reply; and a sentence for each way in which a worker cannot be asked."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bombyx.control import wire
from bombyx.control.asking import give
from bombyx.control.document import WorkerDocument, read_document
from bombyx.control.starting import starting
from bombyx.control.wire import SOCKET, Order, address, decode_order
from bombyx.errors import SetupError

STATUS = Order("status")


@contextlib.contextmanager
def answering(folder: Path, reply: bytes) -> Iterator[list[bytes]]:
    """A worker that answers one visitor with these bytes, and what it was told."""
    told: list[bytes] = []
    with address(folder) as where, socket.socket(socket.AF_UNIX) as server:
        server.bind(where)
        server.listen()

        def answer() -> None:
            visitor, _ = server.accept()
            with visitor:
                told.append(visitor.recv(4096))
                visitor.sendall(reply)

        thread = threading.Thread(target=answer)
        thread.start()
        yield told
        thread.join()


def test_an_order_and_its_reply_are_a_line_each(tmp_path: Path) -> None:
    with answering(tmp_path, b'{"told":{"paused":false}}\n') as told:
        assert give(tmp_path, STATUS) == {"paused": False}
    assert decode_order(told[0]) == STATUS


def test_a_folder_deeper_than_socket_addresses_reach_is_asked_too(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 90) / ("e" * 90)
    deep.mkdir(parents=True)
    with answering(deep, b'{"told":{}}\n'):
        assert give(deep, STATUS) == {}


def test_without_such_a_folder_in_proc_the_address_is_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "_DESCRIPTORS", tmp_path / "none")
    deep = tmp_path / ("d" * 120)
    with address(deep) as where:
        assert where == str(deep / SOCKET)


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (b'{"error":"there is no such model"}\n', "there is no such model"),
        (b"nonsense\n", "cannot be asked"),
        (b"", r"cannot be asked \(it hung up\)"),
    ],
)
def test_what_a_worker_refuses_or_garbles_is_an_error(
    tmp_path: Path, reply: bytes, sentence: str
) -> None:
    with answering(tmp_path, reply), pytest.raises(SetupError, match=sentence):
        give(tmp_path, STATUS)


def test_a_worker_that_is_not_there_is_gone_or_silent_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no worker runs on"):
        give(tmp_path, STATUS)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / SOCKET))
        with pytest.raises(SetupError, match="is gone: start it again"):
            give(tmp_path, STATUS)
        server.listen()
        with pytest.raises(SetupError, match="does not answer within 0 s"):
            give(tmp_path, STATUS, seconds=0.05)


@pytest.mark.parametrize("line", [b"", b"[]", b'{"do":1}', b'{"do":"status","also":1}'])
def test_what_is_no_order_is_refused(line: bytes) -> None:
    with pytest.raises(SetupError, match="that is no order"):
        decode_order(line)


def test_a_document_of_another_version_is_read_as_far_as_it_goes() -> None:
    least = {
        "worker": "w",
        "platform": "tdx",
        "payout": "p",
        "paused": False,
        "gateways": [],
        "models": [],
        "running": 0,
        "undisposed": 0,
        "unpaid_nano": {},
        "later": "more",
    }
    document = read_document(least)
    assert (document.hours, document.slots) == ([], 0)
    assert read_document(msgspec.to_builtins(document)) == document
    assert isinstance(document, WorkerDocument)
    with pytest.raises(SetupError, match="another version"):
        read_document({"worker": 1})


def test_a_worker_that_starts_is_no_worker_that_is_gone(tmp_path: Path) -> None:
    with starting(tmp_path):
        with pytest.raises(SetupError, match="it starts: "):
            give(tmp_path, STATUS)
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(tmp_path / SOCKET))  # of the process before, which was killed
        with pytest.raises(SetupError, match="it starts: "):
            give(tmp_path, STATUS)
    with pytest.raises(SetupError, match="is gone: start it again"):
        give(tmp_path, STATUS)


def test_a_folder_of_several_workers_names_one(tmp_path: Path) -> None:
    (tmp_path / "gpu-0-1").mkdir()
    (tmp_path / "gpu-0-1" / SOCKET).write_text("")
    with pytest.raises(SetupError, match=r"is of several workers: name one, such as --state .*0-1"):
        give(tmp_path, STATUS)


def test_a_folder_that_is_somebody_elses_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(_: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", closed)
    with pytest.raises(SetupError, match="cannot be asked: Permission denied"):
        give(tmp_path, STATUS)
