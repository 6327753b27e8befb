"""TLS servers in a thread that count what reaches them: honest, lying, old, forgetful."""

import contextlib
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bombyx.attestation.pem import to_pem
from gateway.ratls.certificate import server_context
from tests.bombyx.attestation.ratls.minting import HONEST, Recipe

BODY = b"secret"
"""What every request ends with."""
ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n"
    b"x-bombyx-gateway: liar\r\nX-Bombyx-Gateway-Platform: tdx\r\n\r\n{}"
)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def load(context: ssl.SSLContext, certificate: bytes, pem: bytes) -> ssl.SSLContext:
    with tempfile.NamedTemporaryFile() as file:
        file.write(pem + to_pem(certificate))
        file.flush()
        context.load_cert_chain(file.name)
    return context


def context_of(recipe: Recipe = HONEST) -> ssl.SSLContext:
    return load(server_context(), recipe.certificate(), key_pem(recipe.key))


@dataclass
class Served:
    """A listening server; `received` is every byte of requests that came through TLS."""

    port: int
    received: list[bytes] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"


@contextlib.contextmanager
def serving(context: ssl.SSLContext) -> Iterator[Served]:
    """Answers each request with the same JSON until the connection ends."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        served = Served(listening.getsockname()[1])
        threads: list[threading.Thread] = []

        def accept() -> None:
            while True:
                try:
                    sock, _ = listening.accept()
                except OSError:
                    return
                served.connections += 1
                one = threading.Thread(target=_serve, args=(sock, context, served), daemon=True)
                one.start()
                threads.append(one)

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield served
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            for one in (accepting, *threads):
                one.join(5)


def _serve(sock: socket.socket, context: ssl.SSLContext, served: Served) -> None:
    sock.settimeout(5)
    try:
        with context.wrap_socket(sock, server_side=True) as tls:
            while data := tls.recv(65536):
                served.received.append(data)
                if data.endswith(BODY):
                    tls.sendall(ANSWER)
    except OSError as error:
        served.failures.append(str(error))
    finally:
        sock.close()
