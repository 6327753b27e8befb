"""`/openapi.json`: what FastAPI knows of the routes, and what it cannot know (SPEC 18).

Paths of inference are served before FastAPI, keys are checked by hand, every refusal has OpenAI's
shape, and 422 is never a refusal of a parameter.
"""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, TypeAlias

from fastapi import FastAPI

from bombyx.chat.body import MAX_CHOICES, MAX_MODEL_NAME
from bombyx.chat.paths import (
    CHAT_PATH,
    COMPLETIONS_PATH,
    COUNT_TOKENS_PATH,
    DETOKENIZE_PATH,
    EMBEDDINGS_PATH,
    MESSAGES_PATH,
    RESPONSES_PATH,
    TOKENIZE_PATH,
)
from bombyx.chat.surface import endpoint
from gateway.admin.schemas import ErrorView

Schema: TypeAlias = dict[str, Any]

JSON, PROBLEM = "application/json", "application/problem+json"
SEALED, SEALED_STREAM = "application/vnd.bombyx.sealed", "application/vnd.bombyx.sealed-stream"
EVENTS = "text/event-stream"
STANDING = "/v1/confidential/workers/{worker}/standing"
PUBLIC = frozenset({"/healthz", "/readyz", "/v1/gateways", STANDING})

_ANYWHERE = (400, 404, 408, 413, 431, 500, 503)
_WITH_KEY = (401, 403)
_ADMIN = (409,)
_CHANNELS = (402, 409)
_CHAIN = (502,)
_ONLY: dict[tuple[str, str], tuple[int, ...]] = {
    ("post", "/v1/withdrawals"): (402, 409),
    ("post", "/v1/channels"): _CHAIN,
    ("post", "/admin/v1/accounts/{account}/withdrawals"): (402,),
    ("post", "/admin/v1/channels/{channel}/claim"): (402,),
    ("post", "/admin/v1/owners/{owner}/channel"): (402,),
    ("post", "/admin/v1/channels/{channel}/close"): (402,),
    ("post", "/admin/v1/channels/{channel}/resume"): (402, *_CHAIN),
    ("post", "/admin/v1/chain/resume"): _CHAIN,
}
"""What single operations say beside that: money that is not there, and a chain that is silent."""
_INFERENCE = (402, 409, 415, 422, 429, 502, 504)
_WORDS = {
    400: "The request is wrong.",
    401: "No key, or one that is unknown.",
    402: "The account or channel cannot cover it, or the channel ends.",
    403: "The key may not do this.",
    404: "There is no such thing.",
    408: "The request came too slowly.",
    409: "It contradicts what was done before.",
    413: "The body is too large.",
    415: "The body is neither JSON nor sealed.",
    422: "No worker took the sealed request: seal it anew.",
    429: "A limit of the key or account is reached.",
    431: "The headers are too large.",
    500: "A fault of the gateway's.",
    502: "The worker failed, or those who tell of the chain did.",
    503: "Everything is busy, or stops.",
    504: "The worker was too slow.",
}
_TEXT: Schema = {"type": "string", "minLength": 1}
_MODEL: Schema = {**_TEXT, "maxLength": MAX_MODEL_NAME}
_LIST: Schema = {"type": "array", "minItems": 1, "items": {"type": "object"}}
_REQUIRED: dict[str, dict[str, Schema]] = {
    CHAT_PATH: {"messages": _LIST},
    COMPLETIONS_PATH: {"prompt": {"type": ["string", "array"]}},
    EMBEDDINGS_PATH: {"input": {"type": ["string", "array"]}},
    RESPONSES_PATH: {"input": {"type": ["string", "array"]}},
    MESSAGES_PATH: {"messages": _LIST, "max_tokens": {"type": "integer", "minimum": 1}},
    COUNT_TOKENS_PATH: {"messages": _LIST},
    TOKENIZE_PATH: {"prompt": {"type": "string"}},
    DETOKENIZE_PATH: {"tokens": {"type": "array", "items": {"type": "integer", "minimum": 0}}},
}
_OPTIONAL: dict[str, Schema] = {
    "stream": {"type": ["boolean", "null"]},
    "n": {"type": ["integer", "null"], "minimum": 1, "maximum": MAX_CHOICES},
    "max_tokens": {"type": ["integer", "null"], "minimum": 1},
    "max_completion_tokens": {"type": ["integer", "null"], "minimum": 1},
    "max_output_tokens": {"type": ["integer", "null"], "minimum": 1},
    "top_p": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
    "frequency_penalty": {"type": ["number", "null"], "minimum": -2, "maximum": 2},
    "presence_penalty": {"type": ["number", "null"], "minimum": -2, "maximum": 2},
    "logit_bias": {"type": ["object", "null"]},
    "tools": {"type": ["array", "null"]},
    "seed": {"type": ["integer", "null"]},
}
_STREAMED = frozenset({CHAT_PATH, COMPLETIONS_PATH, RESPONSES_PATH, MESSAGES_PATH})


def describe(app: FastAPI) -> None:
    """Make the app's document whole; called once all routes are there."""
    made = app.openapi

    def openapi() -> Schema:
        known = app.openapi_schema
        return known if known is not None else complete(made())

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend it


def complete(document: Schema) -> Schema:
    """The document, changed in place."""
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for never in ("HTTPValidationError", "ValidationError"):
        schemas.pop(never, None)
    errors = ErrorView.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(errors.pop("$defs"), ErrorView=errors)
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "An API key."}
    }
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            _complete(path, operation)
            _refuse(operation, _ONLY.get((method, path), ()))
    return document


def _complete(path: str, operation: Schema) -> None:
    operation["responses"].pop("422", None)
    statuses = [*_ANYWHERE]
    if path not in PUBLIC:
        operation["security"] = [{"key": []}]
        statuses += _WITH_KEY
    if path.startswith("/admin/"):
        statuses += _ADMIN
    if path.startswith("/v1/channels"):
        statuses += _CHANNELS
    if path in _REQUIRED:
        statuses += _INFERENCE
        operation["requestBody"] = {"required": True, "content": _bodies(path)}
        operation["responses"]["200"]["content"] = _answers(path)
    _refuse(operation, statuses)
    for success in ("200", "201"):
        if success in operation["responses"]:
            content = operation["responses"][success].setdefault("content", {})
            if not content:
                content[JSON] = {"schema": {"type": "object"}}


def _refuse(operation: Schema, statuses: Iterable[int]) -> None:
    for status in statuses:
        operation["responses"][str(status)] = _refusal(status)


def _refusal(status: int) -> Schema:
    media = [JSON, PROBLEM] if status in (HTTPStatus.UNPROCESSABLE_ENTITY, 400) else [JSON]
    schema = {"schema": {"$ref": "#/components/schemas/ErrorView"}}
    return {"description": _WORDS[status], "content": dict.fromkeys(media, schema)}


def _bodies(path: str) -> Schema:
    required = {"model": _MODEL, **_REQUIRED[path]}
    allowed = endpoint(path).allowed
    names: Iterable[str] = sorted({*allowed.passed, *allowed.checked, *allowed.ignored})
    properties = {name: required.get(name) or _OPTIONAL.get(name, {}) for name in names}
    body = {
        "type": "object",
        "required": sorted(required),
        "properties": properties,
        "additionalProperties": False,
    }
    return {JSON: {"schema": body}, SEALED: {"schema": {"type": "string", "format": "binary"}}}


def _answers(path: str) -> Schema:
    content: Schema = {
        JSON: {"schema": {"type": "object"}},
        SEALED_STREAM: {"schema": {"type": "string", "format": "binary"}},
    }
    if path in _STREAMED:
        content[EVENTS] = {"schema": {"type": "string"}}
    return content
