"""`bombyx up --engine sglang`: processes of their own, any SDK, real SGLang behind them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import openai
import psutil
import pytest

from tests.sglang.lane import COUNTS, MODEL, NAME, PYTHON, QUESTION, REPLY


@pytest.fixture
def settings() -> dict[str, str]:
    """The worker's, as an owner's environment has them."""
    own = {"ENGINE_PYTHON": str(PYTHON), "ENGINE_DEVICE": "cpu", "MODEL": NAME}
    return {**os.environ, **{f"BOMBYX_WORKER_{name}": value for name, value in own.items()}}


def test_a_sealed_chat_streams_through_up(settings: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from bombyx.cli.main import run; run()", "up"]
    command += ["--engine", "sglang", "--model-path", str(MODEL), "--workers", "1", "--json"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--state", str(tmp_path / "up")],
            stdout=subprocess.PIPE,
            stderr=log,
            env=settings,
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (tmp_path / "log").read_text()
        _chat(json.loads(line))
        below = psutil.Process(process.pid).children(recursive=True)
        assert [one for one in below if str(PYTHON) in one.cmdline()]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(40)
        if process.stdout is not None:
            process.stdout.close()
    assert not [one for one in below if one.is_running() and one.status() != "zombie"]


def _chat(network: dict[str, str]) -> None:
    client = openai.OpenAI(
        base_url=network["sidecar"] + "/v1", api_key=network["api_key"], max_retries=0
    )
    text, usage = "", None
    for chunk in client.chat.completions.create(
        model=NAME,
        messages=[{"role": "user", "content": QUESTION}],
        temperature=0,
        max_tokens=30,
        stream=True,
        stream_options={"include_usage": True},
    ):
        usage = chunk.usage or usage
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
    assert text == REPLY
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == COUNTS
    told = usage.model_dump()["bombyx"]
    assert (told["tier"], told["verified"]) == ("sealed", True)
