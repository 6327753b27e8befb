"""Every path that can be sealed: its fields, its form, and what its engine is asked (SPEC 2, 4.1).

The worker translates; a gateway sees sealed bodies never and bare ones only to check them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bombyx.chat.allow_list import CHAT, admit_chat
from bombyx.chat.allowed import Allowed
from bombyx.chat.anthropic.answer import CountForm, MessagesForm
from bombyx.chat.anthropic.request import (
    COUNT,
    MESSAGES,
    admit_count,
    admit_messages_request,
)
from bombyx.chat.body import Body
from bombyx.chat.completions import COMPLETIONS, CompletionForm, admit_completion
from bombyx.chat.embeddings import EMBEDDINGS, EmbeddingsForm, admit_embeddings
from bombyx.chat.forms import Form, OpenAIForm, Shown, WholeForm, include_usage
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
from bombyx.chat.responses.answer import ResponsesForm
from bombyx.chat.responses.request import RESPONSES, admit_response
from bombyx.chat.tokenizing import DETOKENIZE, TOKENIZE, admit_detokenize, admit_tokenize
from bombyx.errors import NotFound


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path: its fields, how its body becomes an engine's, how its answer looks."""

    allowed: Allowed
    admit: Callable[[Mapping[str, Any]], Body]
    form: Callable[[Body, Shown], Form]
    id_prefix: str


ENDPOINTS: Mapping[str, Endpoint] = {
    CHAT_PATH: Endpoint(
        CHAT,
        admit_chat,
        lambda asked, _: OpenAIForm(include_usage=include_usage(asked)),
        "chatcmpl-",
    ),
    COMPLETIONS_PATH: Endpoint(
        COMPLETIONS, admit_completion, lambda asked, _: CompletionForm(asked), "cmpl-"
    ),
    EMBEDDINGS_PATH: Endpoint(
        EMBEDDINGS, admit_embeddings, lambda asked, _: EmbeddingsForm(asked), "embd-"
    ),
    RESPONSES_PATH: Endpoint(RESPONSES, admit_response, ResponsesForm, "chatcmpl-"),
    MESSAGES_PATH: Endpoint(MESSAGES, admit_messages_request, MessagesForm, "chatcmpl-"),
    COUNT_TOKENS_PATH: Endpoint(COUNT, admit_count, lambda _, shown: CountForm(shown), "tok-"),
    TOKENIZE_PATH: Endpoint(TOKENIZE, admit_tokenize, lambda *_: WholeForm(), "tok-"),
    DETOKENIZE_PATH: Endpoint(DETOKENIZE, admit_detokenize, lambda *_: WholeForm(), "tok-"),
}


def endpoint(path: str) -> Endpoint:
    """What is known of a path; raises `NotFound`."""
    found = ENDPOINTS.get(path)
    if found is None:
        raise NotFound("this path is not served")
    return found


def admit(path: str, body: Mapping[str, Any]) -> Body:
    """The body that the path's engine may get, each field checked; null counts as absent.

    Raises `NotFound` for another path, `UnsupportedParameter` for a field that nothing here
    honours, `RequestError` or `UnsupportedValue` for a wrong one.
    """
    return endpoint(path).admit(body)
