"""Makes `data/answers.json`: answers of SmolLM2-135M-Instruct, cut by its own tokenizer.

python -m benchmarks.leakage_corpus MODEL.gguf

Each of a few questions is answered many times with fixed seeds. The file is kept, so that the
measurement needs no model; another build of llama.cpp may answer in other words.
"""

import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent / "data" / "answers.json"
QUESTIONS = (
    "What are the symptoms of diabetes?",
    "What are the symptoms of a migraine?",
    "How do I file for divorce?",
    "How do I bake bread at home?",
)
ANSWERS = 40
MAX_TOKENS = 64


def main() -> None:
    """Ask everything, write the file."""
    import xllamacpp  # type: ignore[import-untyped]  # noqa: PLC0415  (an extra)

    params = xllamacpp.CommonParams()
    params.model.path = sys.argv[1]
    params.hostnames, params.api_keys = ["127.0.0.1"], ["corpus"]
    params.n_ctx, params.n_parallel, params.warmup = 512, 1, False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.verbosity = 0
    server = xllamacpp.Server(params)
    told = {
        question: [_answer(server.listening_address, question, seed) for seed in range(ANSWERS)]
        for question in QUESTIONS
    }
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(json.dumps(told, ensure_ascii=True, indent=0), encoding="ascii")


def _answer(url: str, question: str, seed: int) -> list[str]:
    body = {
        "messages": [{"role": "user", "content": question}],
        "max_tokens": MAX_TOKENS,
        "temperature": 0.8,
        "seed": seed,
        "cache_prompt": False,
    }
    text = _ask(url + "/v1/chat/completions", body)["choices"][0]["message"]["content"]
    pieces = _ask(url + "/tokenize", {"content": text, "with_pieces": True})["tokens"]
    print(".", end="", flush=True)
    # A piece of a character comes as a list of bytes; a stream shows it once it is whole.
    return [one["piece"] for one in pieces if isinstance(one["piece"], str)]


def _ask(url: str, body: dict[str, Any]) -> Any:
    headers = {"authorization": "Bearer corpus", "content-type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as response:
        return json.load(response)


if __name__ == "__main__":
    main()
