"""One error has one form, whoever answers: OpenAI's, or Anthropic's on its paths (SPEC 19)."""

import pytest

from bombyx.chat.paths import CHAT_PATH, COUNT_TOKENS_PATH, MESSAGES_PATH, SERVED_PATHS
from bombyx.chat.refusing import refusal_document, refusal_of
from bombyx.errors import (
    BombyxError,
    EngineFailed,
    EngineTimeout,
    Forbidden,
    InProgress,
    InsufficientQuota,
    NotFound,
    Overloaded,
    RateLimited,
    RequestError,
    RequestTimeout,
    TooLarge,
    Unauthenticated,
    UnsupportedParameter,
    envelope,
)

KINDS: list[tuple[type[BombyxError], str]] = [
    (RequestError, "invalid_request_error"),
    (UnsupportedParameter, "invalid_request_error"),
    (InProgress, "invalid_request_error"),
    (Unauthenticated, "authentication_error"),
    (InsufficientQuota, "billing_error"),
    (Forbidden, "permission_error"),
    (NotFound, "not_found_error"),
    (RequestTimeout, "timeout_error"),
    (TooLarge, "request_too_large"),
    (RateLimited, "rate_limit_error"),
    (BombyxError, "api_error"),
    (EngineFailed, "api_error"),
    (Overloaded, "overloaded_error"),
    (EngineTimeout, "timeout_error"),
]


@pytest.mark.spec("19-b")
@pytest.mark.parametrize(("kind", "told"), KINDS)
@pytest.mark.parametrize("path", [MESSAGES_PATH, COUNT_TOKENS_PATH, "/v1/messages/batches"])
def test_anthropics_paths_have_its_envelope_and_keep_code_and_param(
    path: str, kind: type[BombyxError], told: str
) -> None:
    error = kind("so it is", param="tools")
    assert refusal_document(path, error, request_id="req_1") == {
        "type": "error",
        "error": {"type": told, "message": "so it is", "code": kind.code, "param": "tools"},
        "request_id": "req_1",
    }


@pytest.mark.spec("19-b")
@pytest.mark.parametrize(
    "path", ["", "/v1/messagesandmore", *(one for one in SERVED_PATHS if "messages" not in one)]
)
def test_every_other_path_has_openais(path: str) -> None:
    error = Overloaded("wait")
    assert refusal_document(path, error, request_id="req_1") == envelope(error)


def test_an_error_of_a_peer_is_shown_by_the_answers_status() -> None:
    told = {"message": "no", "type": "authentication_error", "code": None, "param": None}
    assert refusal_of(CHAT_PATH, 401, told) == {"error": told}
    shown = refusal_of(MESSAGES_PATH, 418, {"message": "no"})
    assert shown["error"] == {"message": "no", "type": "invalid_request_error"}
    assert shown["request_id"] is None
