"""JSON lines on stderr: ids, codes and counts; never content, keys or tickets."""

import logging
import sys
from typing import TextIO, cast

import structlog


class _Stderr:
    """Standard error as it is when something is said, not as it was when logs were set up."""

    def write(self, text: str) -> int:
        """Write through."""
        return sys.stderr.write(text)

    def flush(self) -> None:
        """Flush through."""
        sys.stderr.flush()


def configure_logs() -> None:
    """Set structlog up for this process."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _Stderr())),
        cache_logger_on_first_use=True,
    )
