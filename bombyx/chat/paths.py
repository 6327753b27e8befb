"""The paths that can be sealed (SPEC 2, 14), and what an engine is asked for each of them."""

CHAT_PATH = "/v1/chat/completions"
COMPLETIONS_PATH = "/v1/completions"
EMBEDDINGS_PATH = "/v1/embeddings"
RESPONSES_PATH = "/v1/responses"
MESSAGES_PATH = "/v1/messages"
COUNT_TOKENS_PATH = "/v1/messages/count_tokens"
TOKENIZE_PATH = "/v1/tokenize"
DETOKENIZE_PATH = "/v1/detokenize"

SERVED_PATHS = (
    CHAT_PATH,
    COMPLETIONS_PATH,
    EMBEDDINGS_PATH,
    RESPONSES_PATH,
    MESSAGES_PATH,
    COUNT_TOKENS_PATH,
    TOKENIZE_PATH,
    DETOKENIZE_PATH,
)

SILENT_PATHS = frozenset({EMBEDDINGS_PATH, COUNT_TOKENS_PATH, TOKENIZE_PATH, DETOKENIZE_PATH})
"""Their answers hold nothing that a model wrote: no output tokens, no stream."""

_AS_CHAT = frozenset({RESPONSES_PATH, MESSAGES_PATH})


def engine_path(path: str) -> str:
    """What an engine is asked: dialects of a conversation are all chat completions to it."""
    return CHAT_PATH if path in _AS_CHAT else path


def is_anthropic(path: str) -> bool:
    """Whether Anthropic's SDKs ask for it: the path itself, or one below that is not served."""
    return path.startswith(MESSAGES_PATH) and path[len(MESSAGES_PATH) :][:1] in ("", "/")
