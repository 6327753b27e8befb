"""What goes wrong on the way to and from the chain (SPEC 19)."""

from bombyx.errors import RemoteError, RequestError, SetupError


class MalformedCell(RequestError):
    """Raised when a cell, message, state or address is not of the form that was asked for."""

    code = "malformed_cell"


class MessageNotAccepted(RequestError):
    """Raised when an account accepts no such external message; the message had no effect."""

    code = "message_not_accepted"

    def __init__(self, message: str, *, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class EmulatorMissing(SetupError):
    """Raised when the TVM's WebAssembly is not installed; the message names the command."""

    code = "emulator_missing"


class EmulatorFailed(RemoteError):
    """Raised when the TVM did not start, or answered what no chain would."""

    code = "emulator_failed"
