"""`bombyx receipt audit`: what is recounted, what may differ, what cannot be told (SPEC 1.4)."""

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bombyx.chat.sse import DONE, encode_event
from bombyx.cli.main import main
from bombyx.cli.recount import (
    CALL_MARKUP,
    LEAST_SLACK,
    REASONING_MARKS,
    Verdict,
    read_answer,
    recount_completion,
    recount_prompt,
)
from bombyx.cli.tokenizer_files import find_model, open_tokenizer
from bombyx.errors import BadAnswer, SetupError
from bombyx.money.statement import TokenCounts
from tests.factories import hex_of, priced, receipts, statement, worker

GGUF = Path(__file__).parents[2] / "fixtures" / "tiny-llama" / "tiny-f16.gguf"


class Words:
    """One token a word; a template of two tokens a message."""

    def __init__(self, *, template: bool = True) -> None:
        self.template = template

    def count(self, text: str) -> int:
        return len(text.split())

    def count_prompt(self, body: Mapping[str, Any]) -> int | None:
        if not self.template:
            return None
        return sum(2 + self.count(one["content"]) for one in body["messages"])


def message(finish: str = "stop", **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": fields, "finish_reason": finish}]}


def counted(completion: int, *, reasoning: int = 0, prompt: int = 0) -> TokenCounts:
    return TokenCounts(prompt=prompt, cached=0, completion=completion, reasoning=reasoning)


def words(count: int) -> str:
    return " ".join(["silk"] * count)


@pytest.mark.parametrize(
    ("signed", "verdict"),
    [(500, "fits"), (501, "fits"), (506, "fits"), (507, "overcounted"), (525, "overcounted"),
     (250, "fits")],
)  # fmt: skip
def test_five_per_cent_more_on_500_tokens_is_caught(signed: int, verdict: str) -> None:
    """One token ends the answer, five may come of another cut of the same text; no more."""
    answer = message(content=words(500))
    part = recount_completion({}, answer, counted(signed), Words())
    assert (part.recounted, part.most, part.verdict) == (500, 506, verdict)


def test_an_answer_cut_at_its_limit_has_no_token_that_ends_it() -> None:
    part = recount_completion({}, message("length", content=words(500)), counted(506), Words())
    assert part.verdict is Verdict.OVERCOUNTED


def test_what_is_not_shown_is_allowed_for_and_named() -> None:
    call = {"id": "1", "function": {"name": "f", "arguments": "{}"}}
    answer = message(
        "tool_calls", content=None, reasoning_content="two words", tool_calls=[call, call]
    )
    part = recount_completion({"stop": ["a b", "c"]}, answer, counted(9, reasoning=2), Words())
    assert part.recounted == 2 + 2
    assert part.most == 4 + LEAST_SLACK + 1 + 2 * CALL_MARKUP + REASONING_MARKS + 2
    assert len(part.why) == 5


def test_reasoning_that_is_hidden_cannot_be_recounted() -> None:
    part = recount_completion({}, message(content="hi"), counted(90, reasoning=80), Words())
    assert (part.verdict, part.recounted) == (Verdict.CANNOT_TELL, None)


def test_a_prompt_is_exact_with_the_template_and_bounded_without() -> None:
    request = {"messages": [{"role": "user", "content": words(10)}], "tools": [{"a": 1}]}
    assert recount_prompt(request, counted(0, prompt=12), Words(), overhead=9).most == 12
    over = recount_prompt(request, counted(0, prompt=13), Words(), overhead=9)
    assert over.verdict is Verdict.OVERCOUNTED
    bounded = recount_prompt(request, counted(0, prompt=30), Words(template=False), overhead=9)
    assert (bounded.recounted, bounded.most) == (11, 11 + 9 + 2 * 16)
    parts = [{"type": "text", "text": "three more words"}]
    calls = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    texts = {"messages": [{"role": "user", "content": parts}, calls]}
    assert recount_prompt(texts, counted(0), Words(template=False), overhead=0).recounted == 4
    image = [{"type": "image_url", "image_url": {"url": "data:x"}}]
    shown = {"messages": [{"role": "user", "content": image}]}
    assert recount_prompt(shown, counted(0), Words(), overhead=0).verdict is Verdict.CANNOT_TELL


def test_a_streamed_transcript_is_put_together() -> None:
    pieces: list[dict[str, Any]] = [
        {"index": 0, "delta": {"content": "silk "}, "finish_reason": None},
        {"index": 0, "delta": {"content": "worm"}, "finish_reason": "stop"},
    ]
    events = [encode_event(msgspec.json.encode({"choices": [one]})) for one in pieces]
    text = b"".join([*events, DONE]).decode()
    answer = read_answer({"stream": True}, text)
    assert answer["choices"][0]["message"]["content"] == "silk worm"


@pytest.mark.parametrize("text", ["", "no json", "[1]", "data: 1\n\n", 'data: {"choices":[1]}\n\n'])
def test_a_broken_transcript_is_an_error_and_no_verdict(text: str) -> None:
    for stream in (True, False):
        with pytest.raises(BadAnswer):
            read_answer({"stream": stream}, text)


@pytest.mark.parametrize("odd", [None, 1, "x", [1], [[]], [{}], {"a": 1}])
def test_any_shape_of_request_and_answer_gives_a_count(odd: Any) -> None:
    shapes = ({"choices": odd}, {"choices": [{"message": odd, "finish_reason": odd}]})
    for answer in (*shapes, message("stop", content=odd, tool_calls=odd)):
        assert recount_completion({"stop": odd}, answer, counted(0), Words()).signed == 0
    for request in ({"messages": odd, "tools": odd}, {"messages": [{"content": odd}]}):
        part = recount_prompt(request, counted(0), Words(template=False), overhead=0)
        assert part.verdict is Verdict.FITS


# --- the command, with a tokenizer.json ----------------------------------------------------------


@pytest.fixture
def tokenizer_json(tmp_path: Path) -> Path:
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"silk": 0, "?": 1}, unk_token="?"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    path = tmp_path / "tokenizer.json"
    made.save(str(path))
    return path


def files(folder: Path, *, completion: int, said: int = 500, prompt: int = 40) -> list[str]:
    """A receipt for so many tokens, and a transcript of what was said."""
    told = priced(
        statement(
            worker(),
            tokens=TokenCounts(prompt=prompt, cached=0, completion=completion, reasoning=0),
        )
    )
    receipt = receipts([told], worker().receipt)[0]
    document = {
        "receipt": msgspec.to_builtins(receipt),
        "keyset": msgspec.to_builtins(worker().keyset),
    }
    transcript = {
        "v": 1,
        "id": told.id,
        "c": told.c,
        "request": json.dumps({"messages": [{"role": "user", "content": words(30)}]}),
        "answer": json.dumps(message(content=words(said))),
    }
    (folder / "receipt.json").write_text(json.dumps(document), encoding="utf-8")
    (folder / "transcript.json").write_text(json.dumps(transcript), encoding="utf-8")
    return [str(folder / "receipt.json"), "--transcript", str(folder / "transcript.json")]


def test_the_command_says_what_was_signed_and_what_is_there(
    tmp_path: Path, tokenizer_json: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    honest = files(tmp_path, completion=501)
    for path in (tokenizer_json, tmp_path):
        assert main(["receipt", "audit", *honest, "--tokenizer", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "fits" in shown
    assert "named by you" in shown
    padded = files(tmp_path, completion=525)
    command = ["receipt", "audit", *padded, "--tokenizer", str(tokenizer_json)]
    assert main(command) == 1
    assert "above the most that is honest" in capsys.readouterr().out
    assert main([*command, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "overcounted"
    assert told["completion"]["most"] == 506
    assert told["tokenizer"]["proven"] is False
    # 19 tokens above the most, at the prices in the statement.
    assert int(told["excess_nano"]) > 0


def test_a_prompt_that_is_too_long_is_caught_too(
    tmp_path: Path, tokenizer_json: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = files(tmp_path, completion=501, prompt=1000)
    assert main(["receipt", "audit", *command, "--tokenizer", str(tokenizer_json), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["prompt"]["verdict"] == "overcounted"


def test_what_is_no_transcript_or_another_ones_is_refused(
    tmp_path: Path, tokenizer_json: Path
) -> None:
    command = ["receipt", "audit", *files(tmp_path, completion=501)]
    command += ["--tokenizer", str(tokenizer_json)]
    transcript = tmp_path / "transcript.json"
    held = json.loads(transcript.read_text(encoding="utf-8"))
    for broken in ("{", json.dumps({**held, "c": hex_of("other")})):
        transcript.write_text(broken, encoding="utf-8")
        assert main(command) == 1
    transcript.unlink()
    assert main(command) == 1


def test_without_the_models_file_the_user_is_asked_to_name_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    command = ["receipt", "audit", *files(tmp_path, completion=501), "--state", str(tmp_path)]
    assert main(command) == 1
    assert "--tokenizer" in capsys.readouterr().err


def test_the_models_own_file_is_found_by_its_digest(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "other.gguf").write_bytes(b"other")
    mine = tmp_path / "models" / "z.gguf"
    mine.write_bytes(b"mine")
    absent = hashlib.sha256(b"absent").hexdigest()
    assert find_model(absent, [tmp_path, tmp_path / "absent"]) is None
    assert find_model(hashlib.sha256(b"mine").hexdigest(), [tmp_path]) == mine


def test_a_tokenizer_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    pytest.importorskip("xllamacpp")
    broken = tmp_path / "tokenizer.json"
    broken.write_text("{}", encoding="utf-8")
    bad = tmp_path / "broken.gguf"
    bad.write_bytes(b"GGUF")
    for path in (broken, tmp_path / "absent.json", tmp_path / "absent.gguf", bad):
        with pytest.raises(SetupError), open_tokenizer(path):
            pass


def test_a_gguf_counts_with_its_own_template() -> None:
    pytest.importorskip("xllamacpp")
    with open_tokenizer(GGUF) as tokenizer:
        body = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}
        assert tokenizer.count_prompt(body) == 18
        assert tokenizer.count("The capital of France is Paris.") == 8
        with pytest.raises(SetupError):
            tokenizer.count_prompt({"messages": "none"})


@pytest.mark.parametrize(("module", "path"), [("tokenizers", "t.json"), ("xllamacpp", "m.gguf")])
def test_a_missing_extra_is_named(
    module: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SetupError, match="pip install"), open_tokenizer(tmp_path / path):
        pass
