"""Refusals: which rule was broken, by whom, and the worker's signature under it (SPEC 4)."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import UNSET

from bombyx.errors import BombyxError
from bombyx.link.documents import Fault, Refusal, SignedRefusal
from bombyx.signing import Kind, Signer

_MAX_MESSAGE = 512
_FIELD = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""What a refusal may name as the field it is about: nothing that could be a client's text."""


class Blamed(Exception):
    """Raised when admission fails; `fault` names who broke the rule."""

    def __init__(self, error: BombyxError, fault: Fault) -> None:
        super().__init__(error.message)
        self.error = error
        self.fault = fault


class Refused(Exception):
    """Raised out of admission: `signed` is what the gateway gets.

    `model` is one of the worker's own, empty where the request named none of them.
    """

    def __init__(self, signed: SignedRefusal, *, model: str = "") -> None:
        super().__init__(signed.refusal.code)
        self.signed = signed
        self.model = model


@contextmanager
def blame(fault: Fault) -> Iterator[None]:
    """Whatever this software refuses inside the block is `fault`'s doing."""
    try:
        yield
    except BombyxError as error:
        raise Blamed(error, fault) from None


def sign_refusal(
    blamed: Blamed,
    signer: Signer,
    *,
    worker: str,
    gateway: str,
    c: bytes | None,
    h: bytes | None,
    at: int,
) -> SignedRefusal:
    """The refusal under the receipt key; `at` in milliseconds.

    A refusal that names `c` is proof that this worker never ran and never will run it, so the
    caller gives `c` only where that is so.
    """
    refusal = Refusal(
        worker=worker,
        gateway=gateway,
        code=blamed.error.code,
        fault=blamed.fault,
        at=at,
        c=UNSET if c is None else c.hex(),
        h=UNSET if h is None else h.hex(),
    )
    signature = signer.sign(Kind.REFUSAL, refusal).hex()
    message = blamed.error.message[:_MAX_MESSAGE]
    param = blamed.error.param
    if param is None or not _FIELD.fullmatch(param):
        return SignedRefusal(refusal=refusal, signature=signature, message=message)
    return SignedRefusal(refusal=refusal, signature=signature, message=message, param=param)
