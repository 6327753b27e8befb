"""Refusals of the devnet, before anything is put into toncenter's shape."""

from typing import ClassVar


class Refusal(Exception):
    """The root: a request that has no answer. `status` is the HTTP status of both APIs."""

    status: ClassVar[int] = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadArgument(Refusal):
    """An argument is missing or malformed."""

    status = 422


class NoSuchThing(Refusal):
    """There is no such method, account, transaction or block."""

    status = 404


class NotExecuted(Refusal):
    """The chain does not take it: an external message that was not accepted, an endless trace."""

    status = 500
