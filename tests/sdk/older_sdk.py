"""Run by test_older_sdks.py in a process of its own, with an older `openai` first on its path.

python older_sdk.py BASE_URL API_KEY POLICY_FILE     prints one JSON document
"""

import asyncio
import json
import sys

import openai
from openai import AsyncOpenAI, OpenAI

import bombyx

MODEL = "scripted"


def ask(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def synchronous(url: str, key: str, policy: str) -> dict[str, str]:
    with bombyx.httpx_client(policy=policy) as http:
        client = OpenAI(base_url=url, api_key=key, http_client=http, max_retries=0)
        whole = client.chat.completions.with_raw_response.create(
            model=MODEL, messages=ask("say: whole")
        )
        stream = client.chat.completions.create(model=MODEL, messages=ask("count: 3"), stream=True)
        streamed = "".join(c.choices[0].delta.content or "" for c in stream if c.choices)
        try:
            client.chat.completions.create(model=MODEL, messages=ask("hi"), extra_body={"nope": 1})
            refused = "nothing"
        except openai.BadRequestError as error:
            refused = str(error.code)
    return {
        "tier": whole.headers["x-bombyx-tier"],
        "whole": whole.parse().choices[0].message.content,
        "streamed": streamed,
        "refused": refused,
    }


async def asynchronous(url: str, key: str, policy: str) -> str:
    async with bombyx.async_httpx_client(policy=policy) as http:
        client = AsyncOpenAI(base_url=url, api_key=key, http_client=http, max_retries=0)
        stream = await client.chat.completions.create(
            model=MODEL, messages=ask("count: 4"), stream=True
        )
        return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])


if __name__ == "__main__":
    found = {"version": openai.__version__, **synchronous(*sys.argv[1:])}
    found["asynchronous"] = asyncio.run(asynchronous(*sys.argv[1:]))
    sys.stdout.write(json.dumps(found) + "\n")
