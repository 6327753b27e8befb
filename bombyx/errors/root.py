"""The root of all errors, and the shape in which clients see them."""

from typing import ClassVar


class BombyxError(Exception):
    """The root: anything this software refuses or fails at, on purpose."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str] = "internal_error"
    should_retry: ClassVar[bool | None] = None

    def __init__(
        self, message: str, *, param: str | None = None, retry_after_ms: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_ms = retry_after_ms


def envelope(error: BombyxError) -> dict[str, dict[str, str | None]]:
    """OpenAI's error object, the one shape that every client understands."""
    return {
        "error": {
            "message": error.message,
            "type": error.type,
            "code": error.code,
            "param": error.param,
        }
    }
