"""A stock OpenAI SDK through the sidecar of `bombyx up`.

KEY=… python examples/sidecar.py
"""

import os

from openai import OpenAI

client = OpenAI(base_url="http://127.0.0.1:8787/v1", api_key=os.environ["KEY"])
stream = client.chat.completions.create(
    model=os.environ.get("MODEL", "smollm2-135m-instruct"),
    messages=[{"role": "user", "content": "Name the capital of France."}],
    temperature=0.2,
    stream=True,
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
