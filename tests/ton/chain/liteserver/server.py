"""The other end of an ADNL connection: a liteserver that is honest unless it is told not to be."""

import asyncio
import contextlib
import hashlib
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from secrets import token_bytes

from nacl.bindings import crypto_scalarmult, crypto_sign_ed25519_pk_to_curve25519
from nacl.signing import SigningKey

from ton.chain.liteserver.channel import GREETING, Channel, cipher, greeting_keys, key_id, keys_of
from ton.chain.liteserver.questions import ANSWER, LITE_QUERY, QUERY
from ton.chain.liteserver.tl import Record, pack_bytes

PING, PONG = bytes.fromhex("9a2b084d"), bytes.fromhex("03fb69dc")
Answering = Callable[[bytes], Awaitable[bytes]]


class Talk:
    """One connection, once it was greeted."""

    def __init__(self, writer: asyncio.StreamWriter, channel: Channel) -> None:
        self.writer = writer
        self._channel = channel

    def sealed(self, payload: bytes) -> bytes:
        return self._channel.seal(payload, token_bytes(32))

    def say(self, payload: bytes) -> None:
        self.writer.write(self.sealed(payload))

    def answer(self, name: bytes, answer: bytes) -> None:
        self.say(ANSWER + name + pack_bytes(answer))

    def hear(self, data: bytes) -> list[bytes]:
        return self._channel.feed(data)


Reply = Callable[[Talk, bytes, bytes], Awaitable[None]]
"""What is done about a question, by its name."""


def honestly(answering: Answering) -> Reply:
    async def reply(talk: Talk, name: bytes, question: bytes) -> None:
        talk.answer(name, await answering(question))

    return reply


class Server:
    """Listens on loopback; whoever greets another key is hung up on, as real ones do."""

    def __init__(self, reply: Reply, *, key: SigningKey | None = None) -> None:
        self.reply = reply
        self.key = key or SigningKey.generate()
        self.talks: list[Talk] = []
        self.greeted = 0
        self.is_prompt = True  # or whoever greets has to wait until the test says the first word
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return (
            f"liteserver://127.0.0.1:{self.port}/{b64encode(bytes(self.key.verify_key)).decode()}"
        )

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        channel = self._welcome(await reader.readexactly(GREETING))
        if channel is not None:
            talk = Talk(writer, channel)
            self.greeted += 1
            self.talks.append(talk)
            if self.is_prompt:
                talk.say(b"")
            while data := await reader.read(1 << 16):
                for packet in talk.hear(data):
                    self._take(talk, packet)

    def _welcome(self, greeting: bytes) -> Channel | None:
        named, theirs = greeting[:32], greeting[32:64]
        digest, sealed = greeting[64:96], greeting[96:]
        if named != key_id(bytes(self.key.verify_key)):
            return None
        ours = bytes(self.key.to_curve25519_private_key())
        shared = crypto_scalarmult(ours, crypto_sign_ed25519_pk_to_curve25519(theirs))
        secret = cipher(greeting_keys(shared, digest)).decryptor().update(sealed)
        assert hashlib.sha256(secret).digest() == digest
        outgoing, incoming = keys_of(secret)
        return Channel(incoming, outgoing)

    def _take(self, talk: Talk, packet: bytes) -> None:
        if packet[:4] == PING:
            talk.say(PONG + packet[4:])
            return
        record = Record(packet).tag(QUERY)
        name, query = record.digest(), record.octets()
        question = Record(query).tag(LITE_QUERY).octets()
        task = asyncio.ensure_future(self.reply(talk, name, question))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for talk in self.talks:
            talk.writer.transport.abort()


@contextlib.asynccontextmanager
async def serving(server: Server) -> AsyncIterator[Server]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await server.serve(reader, writer)
        writer.transport.abort()

    listening = await asyncio.start_server(serve, "127.0.0.1", server.port)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        await server.stop()
        listening.close()
        await listening.wait_closed()
