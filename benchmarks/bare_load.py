"""Bare streams, all at once; counts those that end with [DONE]."""

import asyncio
import json
import sys

import aiohttp
import uvloop


async def run(url: str, key: str, model: str, streams: int) -> int:
    """How many streams were whole."""
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "go"}]}
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), headers={"authorization": f"Bearer {key}"}
    ) as session:

        async def one() -> bool:
            async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
                return (await answer.read()).endswith(b"data: [DONE]\n\n")

        return sum(await asyncio.gather(*(one() for _ in range(streams))))


if __name__ == "__main__":
    plan = json.loads(sys.argv[1])
    whole = uvloop.run(run(plan["url"], plan["key"], plan["model"], plan["streams"]))
    sys.stdout.write(json.dumps({"whole": whole}) + "\n")
