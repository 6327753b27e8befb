"""The paths that can be sealed (SPEC 2, 14), and what an engine is asked for each of them."""

CHAT_PATH = "/v1/chat/completions"
COMPLETIONS_PATH = "/v1/completions"
EMBEDDINGS_PATH = "/v1/embeddings"
RESPONSES_PATH = "/v1/responses"
MESSAGES_PATH = "/v1/messages"
TOKENIZE_PATH = "/v1/tokenize"
DETOKENIZE_PATH = "/v1/detokenize"

SERVED_PATHS = (
    CHAT_PATH,
    COMPLETIONS_PATH,
    EMBEDDINGS_PATH,
    RESPONSES_PATH,
    MESSAGES_PATH,
    TOKENIZE_PATH,
    DETOKENIZE_PATH,
)

SILENT_PATHS = frozenset({EMBEDDINGS_PATH, TOKENIZE_PATH, DETOKENIZE_PATH})
"""Their answers hold nothing that a model wrote: no output tokens, no stream."""

_AS_CHAT = frozenset({RESPONSES_PATH, MESSAGES_PATH})


def engine_path(path: str) -> str:
    """What an engine is asked: dialects of a conversation are all chat completions to it."""
    return CHAT_PATH if path in _AS_CHAT else path
