"""Errors as Anthropic's SDKs read them (SPEC 19): the type follows from the status."""

from collections.abc import Mapping
from typing import Any

_BY_STATUS = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_BY_TYPE = {
    "insufficient_quota": "billing_error",
    "invalid_request_error": "invalid_request_error",
    "overloaded_error": "overloaded_error",
    "permission_error": "permission_error",
    "rate_limit_error": "rate_limit_error",
}
_TIMEOUT = "engine_timeout"
_CLIENT, _SERVER = 400, 500


def anthropic_error(
    status: int, told: Mapping[str, Any], *, request_id: str | None = None
) -> dict[str, Any]:
    """The envelope around an error object of ours, which keeps its `code` and `param`.

    `status` is what HTTP says, 200 in the middle of a stream.
    """
    inner = {**told, "type": _kind(status, told)}
    return {"type": "error", "error": inner, "request_id": request_id}


def _kind(status: int, told: Mapping[str, Any]) -> str:
    if status < _CLIENT:
        is_late = told.get("code") == _TIMEOUT
        return "timeout_error" if is_late else _BY_TYPE.get(str(told.get("type")), "api_error")
    default = "invalid_request_error" if status < _SERVER else "api_error"
    return _BY_STATUS.get(status, default)
