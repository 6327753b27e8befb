"""Sealing inside of the SDK, and keeping each receipt.

KEY=… POLICY=… python examples/transport.py
"""

import json
import os
from pathlib import Path

from openai import OpenAI

import bombyx


def keep(answer: bombyx.VerifiedAnswer) -> None:
    """Write a file that `bombyx receipt verify` accepts."""
    path = Path(f"receipt-{answer.receipt.statement.id}.json")
    path.write_text(json.dumps(answer.document()), encoding="utf-8")
    print(f"receipt: {path}, {answer.receipt.statement.charge_nano} nano")


client = OpenAI(
    base_url=os.environ.get("GATEWAY", "http://127.0.0.1:8080/v1"),
    api_key=os.environ["KEY"],
    http_client=bombyx.http_client(policy=os.environ["POLICY"], on_receipt=keep),
)
answer = client.chat.completions.create(
    model=os.environ.get("MODEL", "smollm2-135m-instruct"),
    messages=[{"role": "user", "content": "Name the capital of France."}],
    temperature=0.2,
)
print(answer.choices[0].message.content)
