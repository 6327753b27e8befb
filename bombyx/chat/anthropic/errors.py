"""Errors as Anthropic's SDKs read them, which is OpenAI's envelope with a type outside."""

from typing import Any

from bombyx.errors import BombyxError, envelope

_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_SERVER = 500


def anthropic_error(error: BombyxError) -> dict[str, Any]:
    """The envelope; `code` and `param` stay, so that one error has one name everywhere."""
    kind = "invalid_request_error" if error.status < _SERVER else "api_error"
    inner = {**envelope(error)["error"], "type": _TYPES.get(error.status, kind)}
    return {"type": "error", "error": inner}
