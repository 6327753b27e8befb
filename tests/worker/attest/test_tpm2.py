"""The few TPM 2.0 commands: what is sent byte for byte, and answers that are none."""

import hashlib
import os
import socket
import struct
import tempfile
import threading
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from bombyx.errors import AttestationError
from worker.attest import tpm2_device
from worker.attest import tpm2_wire as wire
from worker.attest.tpm2_device import Tpm, open_channel
from worker.attest.tpm2_wire import TpmAnswerError
from worker.attest.vtpm import find_manufacturer, take_evidence

KEY = 0x80000000
POINT = b"\x01" * 32


def answer(body: bytes = b"", *, code: int = 0, tag: int = 0x8001) -> bytes:
    return struct.pack(">HII", tag, 10 + len(body), code) + body


def sized(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def created(x: bytes = POINT, y: bytes = POINT, attributes: int = wire.AK_ATTRIBUTES) -> bytes:
    public = struct.pack(">HHIH", 0x23, 0x0B, attributes, 0)
    public += struct.pack(">HHHHH", 0x10, 0x18, 0x0B, 3, 0x10) + sized(x) + sized(y)
    return answer(struct.pack(">II", KEY, 0) + sized(public), tag=0x8002)


def test_commands_are_what_the_library_specification_says() -> None:
    assert wire.flush(KEY).hex() == "80010000000e0000016580000000"
    assert wire.read_pcrs((0, 4, 23)).hex() == "8001000000140000017e00000001000b03110080"
    quote = wire.quote(KEY, data=b"\xaa" * 32, pcrs=(4,)).hex()
    session = "00000009" + "40000009" + "0000" + "00" + "0000"
    rest = "0020" + "aa" * 32 + "0010" + "00000001" + "000b" + "03" + "100000"
    assert quote == f"8002{(10 + 4 + 13 + 46):08x}00000158" + "80000000" + session + rest
    assert wire.ask_manufacturer().hex() == "8001000000160000017a000000060000010500000001"


def test_a_key_of_another_kind_than_asked_for_is_refused() -> None:
    assert wire.read_created(created(x=b"\x02")).point == b"\x04" + b"\2".rjust(32, b"\0") + POINT
    with pytest.raises(TpmAnswerError, match="another algorithm"):
        wire.read_created(created(attributes=0x40072))  # not restricted: it would sign anything


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (b"", "breaks off"),
        (answer()[:9], "breaks off"),
        (answer(b"\0"), "breaks off"),
        (answer() + b"\0", "another length"),
        (struct.pack(">HII", 0x8001, 9, 0), "impossible length"),
        (struct.pack(">HII", 0x8001, 1 << 31, 0), "impossible length"),
        (answer(code=0x101), "refuses with code 0x101"),
    ],
)
def test_an_answer_that_is_none_is_refused(response: bytes, why: str) -> None:
    for read in (wire.read_created, wire.read_quote, wire.read_pcr_values, wire.read_manufacturer):
        with pytest.raises(TpmAnswerError, match=why):
            read(response)


def test_every_truncation_of_an_answer_is_refused() -> None:
    whole = created()[10:]
    for length in range(len(whole)):
        with pytest.raises(TpmAnswerError):
            wire.read_created(answer(whole[:length], tag=0x8002))


def test_a_makers_letters_are_shown_as_such() -> None:
    body = struct.pack(">BIII", 0, 6, 1, 0x105)
    assert wire.read_manufacturer(answer(body + b"AMD\0")) == "AMD"
    assert wire.read_manufacturer(answer(body + b"\x1b[2J")) == "?[2J"


@contextmanager
def scripted(answers: Sequence[bytes]) -> Iterator[Path]:
    """A socket at which somebody reads commands and gives these answers, then hangs up."""
    with (
        tempfile.TemporaryDirectory(prefix="tpm") as folder,
        socket.socket(socket.AF_UNIX) as listener,
    ):
        path = Path(folder) / "tpm"
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            one, _ = listener.accept()
            with one:
                for response in answers:
                    one.recv(4096)
                    one.sendall(response)

        thread = threading.Thread(target=serve)
        thread.start()
        yield path
        thread.join()


def test_a_tpm_that_is_busy_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tpm2_device, "PAUSE_SECONDS", 0.0)
    body = struct.pack(">BIII", 0, 6, 1, 0x105) + b"IBM\0"
    with scripted([answer(code=0x922), answer(code=0x90A), answer(body)]) as path:
        assert find_manufacturer(path) == "IBM"
    with (
        scripted([answer(code=0x922)] * (tpm2_device.ATTEMPTS + 1)) as path,
        pytest.raises(AttestationError, match="0x922"),
    ):
        find_manufacturer(path)


def test_a_tpm_that_hangs_up_is_told() -> None:
    with scripted([answer(b"1234")[:12]]) as path, pytest.raises(AttestationError, match="hung up"):
        find_manufacturer(path)


def test_a_tpm_without_the_bank_is_told() -> None:
    none = answer(struct.pack(">III", 0, 1, 0x000B0300) + b"\0\0" + struct.pack(">I", 0))
    with (
        scripted([none]) as path,
        Tpm(open_channel(path)) as tpm,
        pytest.raises(TpmAnswerError, match="no SHA-256 bank"),
    ):
        tpm.pcrs((0,))


def _registers(value: bytes) -> list[bytes]:
    low = struct.pack(">IIHB", 0, 1, 0x0B, 3)
    first = low + b"\xff\0\0" + struct.pack(">I", 8) + sized(value) * 8
    second = low + b"\0\xff\0" + struct.pack(">I", 8) + sized(value) * 8
    return [answer(first), answer(second)]


def _quoted(digest: bytes) -> bytes:
    signature = struct.pack(">HH", 0x18, 0x0B) + sized(b"\1") + sized(b"\1")
    return answer(struct.pack(">I", 0) + sized(b"attest" + digest) + signature, tag=0x8002)


def test_registers_that_change_while_they_are_quoted_are_never_shown_with_another_quote() -> None:
    turn = [_quoted(b"\0" * 32), *_registers(b"\7" * 32)]
    with (
        scripted([created(), *turn * 3, answer()]) as path,
        pytest.raises(AttestationError, match="change faster"),
    ):
        take_evidence(path, bytes(64))


def test_a_key_that_is_no_point_is_told() -> None:
    values = b"\7" * 32
    turn = [_quoted(hashlib.sha256(values * 16).digest()), *_registers(values)]
    with (
        scripted([created(), *turn, answer()]) as path,
        pytest.raises(AttestationError, match="not on its curve"),
    ):
        take_evidence(path, bytes(64))


def test_a_kernel_device_gives_one_answer_for_one_write() -> None:
    # A terminal in raw mode is a character device that this user may make.
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    body = struct.pack(">BIII", 0, 6, 1, 0x105) + b"AMD\0"

    def serve() -> None:
        assert os.read(ours, 4096) == wire.ask_manufacturer()
        os.write(ours, answer(body))

    thread = threading.Thread(target=serve)
    thread.start()
    assert find_manufacturer(Path(os.ttyname(theirs))) == "AMD"
    thread.join()
    os.close(ours)
    os.close(theirs)
