"""Configuration or environment: the person at the keyboard can mend it."""

from bombyx.errors.root import BombyxError


class SetupError(BombyxError):
    """Raised when configuration or environment is wrong; the message says what to do."""

    code = "setup_error"
    should_retry = False
