"""How an error looks to the SDK that asks on a path (SPEC 19): the one place that knows.

Gateway, worker, client and sidecar all render here, so that one error has one form wherever it
comes from. Paths of Anthropic's dialect have Anthropic's envelope, all others OpenAI's.
"""

from collections.abc import Mapping
from typing import Any

from bombyx.chat.anthropic.errors import anthropic_error
from bombyx.chat.paths import is_anthropic
from bombyx.errors import BombyxError, envelope


def refusal_document(
    path: str, error: BombyxError, *, request_id: str | None = None
) -> dict[str, Any]:
    """The body of an answer that is an error.

    `request_id` is what the answer's header names, or in a worker's error the request's own id.
    """
    return refusal_of(path, error.status, envelope(error)["error"], request_id=request_id)


def refusal_of(
    path: str, status: int, told: Mapping[str, Any], *, request_id: str | None = None
) -> dict[str, Any]:
    """The same for an error object that came from elsewhere, with the answer's status."""
    if is_anthropic(path):
        return anthropic_error(status, told, request_id=request_id)
    return {"error": told}
