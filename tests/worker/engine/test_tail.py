"""What a server prints is shown while it starts, and not kept once it serves."""

import asyncio

import pytest

from worker.engine.server.tail import Tail


async def read(tail: Tail, *pieces: bytes) -> None:
    stream = asyncio.StreamReader()
    for piece in pieces:
        stream.feed_data(piece)
    stream.feed_eof()
    await tail.read(stream)


async def test_the_error_of_a_start_is_its_last_words_without_keys() -> None:
    tail = Tail(secrets=("k3y",))
    await read(tail, b"loading\nTraceback:\n  File x\nValueErr", b"or: bad k3y\nbye\n")
    assert tail.last_words() == "ValueError: bad …"
    assert tail.cause is None


async def test_without_an_error_the_last_line_speaks() -> None:
    tail = Tail()
    assert tail.last_words() == ""
    await read(tail, b"one\ntwo" + b"x" * 1000)
    assert len(tail.last_words()) == 300


async def test_nothing_is_kept_of_a_server_that_serves() -> None:
    tail = Tail()
    tail.serve()
    await read(tail, b"prompt: secret\nValueError: secret\n")
    assert tail.last_words() == ""


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (b"torch.OutOfMemoryError: CUDA out of memory", "memory"),
        (b"IntegrityError: model.safetensors: mismatch", "files"),
        (b"RuntimeError: No accelerator (CUDA) is available", "GPU"),
        (b"[Errno 98] Address already in use", "port"),
    ],
)
async def test_known_causes_of_death_are_named_in_our_words(line: bytes, cause: str) -> None:
    tail = Tail()
    tail.serve()
    await read(tail, line)
    assert tail.cause is not None
    assert cause in tail.cause
    assert line.decode() not in tail.cause
