"""What to paste to talk to a network that has just started."""

_PYTHON = """\
from openai import OpenAI

client = OpenAI(base_url="{sidecar}/v1", api_key="{api_key}")
stream = client.chat.completions.create(
    model="{model}",
    messages=[{{"role": "user", "content": "Name the capital of France."}}],
    stream=True,
)
for chunk in stream:
    print(chunk.choices[0].delta.content or "" if chunk.choices else "", end="", flush=True)
"""

_CURL = """\
curl {sidecar}/v1/chat/completions -H "Authorization: Bearer {api_key}" \\
  -H "Content-Type: application/json" \\
  -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
"""


def python_snippet(sidecar: str, *, api_key: str, model: str) -> str:
    """A stock OpenAI SDK that streams an answer through the sidecar."""
    return _PYTHON.format(sidecar=sidecar, api_key=api_key, model=model)


def curl_snippet(sidecar: str, *, api_key: str, model: str) -> str:
    """The same request in one line of shell."""
    return _CURL.format(sidecar=sidecar, api_key=api_key, model=model)
