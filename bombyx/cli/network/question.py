"""The demo's one question, asked through the stock OpenAI SDK (the extra `demo`)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import openai

from bombyx.errors import RemoteError

PROMPT = "What is the capital of France? Answer in one short sentence."
"""The embedded model of 135 million parameters answers this one right, at this temperature."""
TEMPERATURE = 0.2
TOP_P = 0.9
MAX_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Answered:
    """A whole streamed answer and its usage object, which holds the client's own summary."""

    text: str
    usage: dict[str, Any]

    @property
    def summary(self) -> dict[str, Any]:
        """What the sidecar verified: id, tier, worker, receipt hash, charge."""
        summary = self.usage.get("bombyx")
        if not isinstance(summary, dict) or summary.get("verified") is not True:
            raise RemoteError("the answer came without the sidecar's word that it is verified")
        return summary


def ask(sidecar: str, *, api_key: str, model: str, on_text: Callable[[str], None]) -> Answered:
    """Stream an answer; `on_text` gets each piece. Raises `RemoteError`."""
    pieces: list[str] = []
    usage: dict[str, Any] = {}
    try:
        # A proxy of the environment could not reach our loopback.
        http = openai.DefaultHttpxClient(trust_env=False)
        with openai.OpenAI(base_url=f"{sidecar}/v1", api_key=api_key, http_client=http) as client:
            stream = client.chat.completions.create(
                model=model,
                messages=[{"role": "user", "content": PROMPT}],
                temperature=TEMPERATURE,
                top_p=TOP_P,
                max_completion_tokens=MAX_TOKENS,
                stream=True,
                stream_options={"include_usage": True},
            )
            for chunk in stream:
                text = chunk.choices[0].delta.content if chunk.choices else None
                if text:
                    pieces.append(text)
                    on_text(text)
                if chunk.usage is not None:
                    usage = chunk.usage.model_dump(exclude_none=True)
    except openai.OpenAIError as error:
        raise RemoteError(f"the question failed: {error}") from None
    return Answered("".join(pieces), usage)
