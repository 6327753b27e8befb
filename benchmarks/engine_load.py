"""Streams of a real model, one after another per client: python -m benchmarks.engine_load PLAN.

Tells how many tokens came, in how long, and the time to the first of each.
"""

import asyncio
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import uvloop

import bombyx


async def run(plan: dict[str, Any]) -> dict[str, float]:
    """`clients` at once, each with `requests` streams of `tokens`."""
    body = {
        "model": plan["model"],
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": "Count from 1 to 40."}],
        "temperature": 0,
        "max_tokens": plan["tokens"],
        "logit_bias": {"2": -100},  # it may not end before
    }
    firsts: list[float] = []
    counts: list[int] = []
    policy = plan.get("policy")
    sealed = policy and bombyx.async_http_client(policy=Path(policy))
    async with sealed or httpx2.AsyncClient(trust_env=False) as http:
        http.headers["authorization"] = f"Bearer {plan['key']}"

        async def one() -> None:
            began = time.perf_counter()
            first, text = 0.0, b""
            url = plan["url"] + "/v1/chat/completions"
            async with http.stream("POST", url, json=body, timeout=120) as answer:
                async for part in answer.aiter_bytes():
                    text += part
                    if not first and b'"content":"' in text.replace(b'"content":""', b""):
                        first = time.perf_counter() - began
            firsts.append(first)
            counts.append(_tokens(text))

        async def client() -> None:
            for _ in range(plan["requests"]):
                await one()

        await one()  # connections, keys and the directory cost only the first
        firsts.clear()
        counts.clear()
        began = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(plan["clients"])))
        seconds = time.perf_counter() - began
    return {
        "tokens": sum(counts),
        "seconds": seconds,
        "first_ms": statistics.median(firsts) * 1000,
    }


def _tokens(text: bytes) -> int:
    """By the last usage that was told."""
    told = [json.loads(line[6:]) for line in text.split(b"\n") if line.startswith(b"data: {")]
    counts = [(one.get("usage") or {}).get("completion_tokens", 0) for one in told]
    if not max(counts, default=0):
        raise SystemExit(f"a stream without usage: {text[-300:]!r}")
    return int(max(counts))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(uvloop.run(run(json.loads(sys.argv[1])))) + "\n")
