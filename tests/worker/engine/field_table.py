"""The tables in docs/openai.md, fields by engines, found by asking: `python -m` this to write them.

A sample is a request in which a field should show. `yes` means that the answer or its counts were
others without the field; `sent` that the field reaches the server, whose business its effect is.
"""

import asyncio
from pathlib import Path
from typing import Any

from bombyx.chat.anthropic.request import COUNT
from bombyx.chat.paths import (
    CHAT_PATH,
    COMPLETIONS_PATH,
    COUNT_TOKENS_PATH,
    DETOKENIZE_PATH,
    EMBEDDINGS_PATH,
    MESSAGES_PATH,
    RESPONSES_PATH,
    SERVED_PATHS,
    SILENT_PATHS,
    TOKENIZE_PATH,
    engine_path,
    is_anthropic,
)
from bombyx.chat.surface import ENDPOINTS, admit
from worker.engine.flavour import Flavour, outgoing
from worker.engine.port import Engine, EngineRequest
from worker.engine.scripted import ScriptedEngine

DOCUMENT = Path(__file__).parents[3] / "docs" / "openai.md"
BEGIN, END = "<!-- fields -->\n", "<!-- /fields -->"

Fields = dict[str, Any]

FUNCTIONS = [{"type": "function", "function": {"name": name}} for name in ("get_time", "get_rain")]
BOTH = [{"role": "user", "content": "use get_time and get_rain"}]
CALLS: Fields = {"messages": BOTH, "tools": FUNCTIONS}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
FORMAT = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}

LEAST: dict[str, Fields] = {
    CHAT_PATH: {"messages": [{"role": "user", "content": "say: one two"}], "max_tokens": 9},
    COMPLETIONS_PATH: {"prompt": "say: one two", "max_tokens": 9},
    EMBEDDINGS_PATH: {"input": "silk"},
    RESPONSES_PATH: {"input": "say: one two"},
    MESSAGES_PATH: {"messages": [{"role": "user", "content": "say: one two"}], "max_tokens": 9},
    COUNT_TOKENS_PATH: {"messages": [{"role": "user", "content": "one two"}]},
    TOKENIZE_PATH: {"prompt": "one two"},
    DETOKENIZE_PATH: {"tokens": [111]},
}
SAMPLING: dict[str, Fields] = {
    "max_tokens": {"max_tokens": 1},
    "n": {"n": 2},
    "stream": {"stream": True},
    "stream_options": {"stream": True, "stream_options": {"include_usage": True}},
    "temperature": {"temperature": 0.5},
    "top_p": {"top_p": 0.5},
    "top_k": {"top_k": 3},
    "min_p": {"min_p": 0.1},
    "frequency_penalty": {"frequency_penalty": 1},
    "presence_penalty": {"presence_penalty": 1},
    "logit_bias": {"logit_bias": {"9": 1}},
    "seed": {"seed": 7},
    "stop": {"stop": [" two"]},
}
SAMPLES: dict[str, dict[str, Fields]] = {
    CHAT_PATH: {
        **SAMPLING,
        "max_completion_tokens": {"max_completion_tokens": 1, "max_tokens": None},
        "logprobs": {"logprobs": True},
        "top_logprobs": {"logprobs": True, "top_logprobs": 2},
        "reasoning_effort": {"reasoning_effort": "low"},
        "tools": CALLS,
        "tool_choice": {**CALLS, "tool_choice": "none"},
        "parallel_tool_calls": {**CALLS, "parallel_tool_calls": False},
        "response_format": {"response_format": FORMAT},
        "chat_template_kwargs": {"chat_template_kwargs": {"enable_thinking": False}},
    },
    COMPLETIONS_PATH: {
        **SAMPLING,
        "prompt": {"prompt": "say: three"},
        "logprobs": {"logprobs": 2},
        "echo": {"echo": True},
    },
    EMBEDDINGS_PATH: {"input": {"input": ["a", "b"]}, "dimensions": {"dimensions": 3}},
    TOKENIZE_PATH: {
        "prompt": {"prompt": "three"},
        "add_special_tokens": {"add_special_tokens": False},
    },
    DETOKENIZE_PATH: {"tokens": {"tokens": [112]}},
    RESPONSES_PATH: {
        "input": {"input": [{"role": "user", "content": "hi"}]},
        "instructions": {"instructions": "be kind"},
        "max_output_tokens": {"max_output_tokens": 3},
        "stream": {"stream": True},
        "temperature": {"temperature": 0.5},
        "top_p": {"top_p": 0.5},
        "top_logprobs": {"include": ["message.output_text.logprobs"], "top_logprobs": 2},
        "frequency_penalty": {"frequency_penalty": 1},
        "presence_penalty": {"presence_penalty": 1},
        "parallel_tool_calls": {"parallel_tool_calls": False},
        "include": {"include": ["message.output_text.logprobs"]},
        "reasoning": {"reasoning": {"effort": "low"}},
        "text": {"text": {"format": {"type": "json_object"}}},
        "tools": {"tools": [{"type": "function", "name": "f"}]},
        "tool_choice": {"tools": [{"type": "function", "name": "f"}], "tool_choice": "none"},
    },
    MESSAGES_PATH: {
        "messages": {"messages": [{"role": "user", "content": "hi"}]},
        "system": {"system": "be kind"},
        "max_tokens": {"max_tokens": 3},
        "stop_sequences": {"stop_sequences": ["x"]},
        "stream": {"stream": True},
        "temperature": {"temperature": 0.5},
        "top_k": {"top_k": 3},
        "top_p": {"top_p": 0.5},
        "tools": {"tools": [{"name": "f"}]},
        "tool_choice": {"tools": [{"name": "f"}], "tool_choice": {"type": "none"}},
        "thinking": {"thinking": {"type": "disabled"}},
        "output_config": {"output_config": {"effort": "low"}},
    },
}
SAMPLES[COUNT_TOKENS_PATH] = {
    name: SAMPLES[MESSAGES_PATH][name] for name in COUNT.passed if name != "model"
}
"""A sample for each field that is passed on, but for `model`."""


def asked(path: str, field: str, *, without: bool = False, model: str = "scripted") -> Fields:
    """A request with a field, or the same without it."""
    fields = SAMPLES[path][field]
    body = {"model": model, **LEAST[path], **fields}
    if without:
        left = {name: value for name, value in fields.items() if name != field}
        body = {"model": model, **LEAST[path], **left}
    return body


async def run(engine: Engine, path: str, body: Fields) -> list[Any]:
    """All that an engine answers."""
    request = EngineRequest(engine_path(path), admit(path, body), "r", "ab", "id", 1)
    return [event async for event in engine.run(request)]


async def scripted(path: str, field: str) -> str:
    """Whether the field shows in an answer of the scripted engine, or in its form."""
    if path == COMPLETIONS_PATH and field == "echo":
        return "yes"
    if field == "stream_options":
        return "yes"
    told = [
        await run(ScriptedEngine(), path, asked(path, field, without=one)) for one in (False, True)
    ]
    return "yes" if told[0] != told[1] else "no effect"


def sent(path: str, field: str) -> str:
    """Whether the field is in the body for a server as it was asked for."""
    body = admit(path, asked(path, field))
    if field not in body or field in ("stream", "stream_options"):
        return "by the worker"
    if path in SILENT_PATHS:
        return "sent"
    request = EngineRequest(path, body, "r", "s")
    return "sent" if field in outgoing(request, Flavour.SGLANG, model="m") else "no"


def becomes(path: str, field: str) -> str:
    """The fields of the chat that a dialect's field turns into."""
    with_it = admit(path, asked(path, field))
    without = {**asked(path, field, without=True)}
    before = admit(path, without)
    names = [name for name in with_it if with_it.get(name) != before.get(name)]
    return ", ".join(f"`{name}`" for name in names) or "with others"


async def rows(path: str) -> list[str]:
    """The table of one path."""
    names = [name for name in ENDPOINTS[path].allowed.passed if name in SAMPLES[path]]
    if is_anthropic(path) or engine_path(path) != path:
        head = ["| field | becomes |", "|---|---|"]
        return head + [f"| `{name}` | {becomes(path, name)} |" for name in names]
    head = ["| field | scripted | llama.cpp | SGLang, vLLM |", "|---|---|---|---|"]
    llama = "not served" if path == EMBEDDINGS_PATH else "taken"
    return head + [
        f"| `{name}` | {await scripted(path, name)} | {llama} | {sent(path, name)} |"
        for name in names
    ]


async def render() -> str:
    """All tables, as they stand between the marks."""
    out: list[str] = []
    for path in SERVED_PATHS:
        allowed = ENDPOINTS[path].allowed
        out += [f"### `{path}`", "", *await rows(path), ""]
        for title, names in (("Checked here", allowed.checked), ("Ignored", allowed.ignored)):
            shown = sorted(set(names) - {"messages"})
            if shown:
                out += [f"{title}: {', '.join(f'`{name}`' for name in shown)}.", ""]
    return "\n".join(out)


def written() -> str:
    """What the document says."""
    return DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    text = DOCUMENT.read_text(encoding="utf-8")
    start, _, rest = text.partition(BEGIN)
    DOCUMENT.write_text(
        start + BEGIN + asyncio.run(render()) + END + rest.partition(END)[2], encoding="utf-8"
    )
