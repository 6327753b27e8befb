"""Secrets compare in constant time, and what does not open says one thing (SPEC 2.9)."""

import ast
import hmac
from collections.abc import Iterator
from pathlib import Path

import pytest

from bombyx.envelope.frames import FrameType, aad
from bombyx.envelope.keys import DOES_NOT_OPEN, FrameCipher, PublicSealingKey, wrap_info
from bombyx.envelope.request import RequestKeys, check_commitment, open_frames, seal_frames, unwrap
from bombyx.envelope.session import session_info, unwrap_session
from bombyx.errors import CannotOpen
from tests.factories import seed, worker

ROOT = Path(__file__).parents[2]
SECRETS = {"dek", "secret", "token", "bearer", "commitment", "response_secret", "cluster_key"}
"""Names whose values an attacker must not find out byte by byte."""
WORKER, H, C = bytes.fromhex(worker().id), seed("h"), seed("c")
KEYS = RequestKeys(seed("dek"), seed("rs 0"))


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def sealed(plaintext: bytes, info: bytes) -> bytes:
    return PublicSealingKey.from_bytes(worker().sealing.public_bytes).wrap(plaintext, info)


def wrap() -> bytes:
    return sealed(bytes(64), wrap_info(WORKER, H, C))


def open_wrap(data: bytes) -> None:
    unwrap(data, worker().sealing, worker=WORKER, h=H, c=C)


def open_session(data: bytes) -> None:
    info = session_info(WORKER, seed("gateway"), seed("s", 16))
    unwrap_session(worker().sealing, data, info)


def open_frame(data: bytes) -> None:
    FrameCipher(seed("dek")).open(0, data, aad(H, 0, FrameType.DATA, 0))


FAILURES = {
    "a changed wrap": lambda: open_wrap(flipped(wrap())),
    "a wrap of another length": lambda: open_wrap(wrap()[:-1]),
    "a wrap of zeros": lambda: open_wrap(bytes(1200)),
    "a wrap for another place": lambda: open_wrap(sealed(bytes(64), b"elsewhere")),
    "no session": lambda: open_session(bytes(1168)),
    "a session of another length": lambda: open_session(
        sealed(bytes(31), session_info(WORKER, seed("gateway"), seed("s", 16)))
    ),
    "a short session": lambda: open_session(b""),
    "a frame of noise": lambda: open_frame(seed("noise", 64)),
    "an empty frame": lambda: open_frame(b""),
    "frames of another key": lambda: (
        open_frames(seed("other"), H, seal_frames(seed("dek"), H, bytes(1024))),
        None,
    )[1],
    "another commitment": lambda: check_commitment(KEYS, h=H, c=C, req_ct_hash=seed("ct")),
}


@pytest.mark.spec("2.9-d")
@pytest.mark.parametrize("name", FAILURES)
def test_all_failures_to_open_are_one(name: str) -> None:
    with pytest.raises(CannotOpen) as caught:
        FAILURES[name]()
    assert (caught.value.code, caught.value.message) == ("cannot_open", DOES_NOT_OPEN)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.spec("2.9-c")
def test_a_commitment_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def watched(left: bytes, right: bytes) -> bool:
        compared.append((left, right))
        return hmac_compare(left, right)

    hmac_compare = hmac.compare_digest
    monkeypatch.setattr("bombyx.envelope.request.hmac.compare_digest", watched)
    with pytest.raises(CannotOpen):
        check_commitment(KEYS, h=H, c=C, req_ct_hash=seed("ct"))
    assert [right for _, right in compared] == [C]


def comparisons() -> Iterator[tuple[str, ast.Compare]]:
    for folder in ("bombyx", "gateway", "worker"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Compare):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def names_of(node: ast.expr) -> set[str]:
    """What an operand is called: its last name, also of an attribute or a call's function."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return {name}
        case ast.Call(func=function, args=arguments):
            return names_of(function).union(*map(names_of, arguments))
        case _:
            return set()


@pytest.mark.spec("2.9-c")
def test_no_secret_is_compared_with_an_operator() -> None:
    found = [
        place
        for place, node in comparisons()
        if any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops)
        and any(
            name.strip("_") in SECRETS
            for operand in (node.left, *node.comparators)
            for name in names_of(operand)
            if not (isinstance(operand, ast.Call) and names_of(operand.func) == {"len"})
        )
    ]
    assert found == []
