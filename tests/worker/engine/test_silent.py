"""Embeddings and tokenizers of servers that are not here: each asked in its own way."""

from typing import Any

import pytest

from bombyx.errors import EngineFailed, NotFound, RequestError, UnsupportedValue
from bombyx.money.cost import Tokens
from tests.worker.engine.text_contract import asking
from worker.engine import silent
from worker.engine.flavour import Flavour
from worker.engine.refusals import is_absent
from worker.engine.scripted import ScriptedEngine
from worker.engine.scripted.texts import vector


class Server:
    """Answers every question with the same thing, and keeps what it was asked."""

    def __init__(self, told: Any) -> None:
        self.told = told
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def ask(self, path: str, body: dict[str, Any]) -> Any:
        self.asked.append((path, body))
        return self.told


async def answer(server: Server, path: str, flavour: Flavour, **fields: Any) -> Any:
    request = asking(path, {"model": "shown", **fields})
    return await silent.answer(server.ask, request, flavour, model="own", context=99)


@pytest.mark.parametrize(
    ("flavour", "path", "sent"),
    [
        (Flavour.SGLANG, "/v1/tokenize", {"model": "own", "prompt": "hi"}),
        (Flavour.VLLM, "/tokenize", {"model": "own", "prompt": "hi"}),
        (
            Flavour.LLAMACPP,
            "/tokenize",
            {"content": "hi", "add_special": True, "parse_special": True},
        ),
    ],
)
async def test_each_tokenizer_is_asked_in_its_own_way(
    flavour: Flavour, path: str, sent: dict[str, Any]
) -> None:
    server = Server({"tokens": [1, 2]})
    told = await answer(server, "/v1/tokenize", flavour, prompt="hi")
    assert server.asked == [(path, sent)]
    assert told.payload == {"tokens": [1, 2], "count": 2, "max_model_len": 99}
    assert told.tokens == Tokens()


@pytest.mark.parametrize(
    ("flavour", "told"),
    [
        (Flavour.SGLANG, {"text": "hi"}),
        (Flavour.VLLM, {"prompt": "hi"}),
        (Flavour.LLAMACPP, {"content": "hi"}),
    ],
)
async def test_each_detokenizer_is_understood(flavour: Flavour, told: dict[str, Any]) -> None:
    found = await answer(Server(told), "/v1/detokenize", flavour, tokens=[1])
    assert found.payload == {"text": "hi", "prompt": "hi"}


@pytest.mark.parametrize("path", ["/v1/tokenize", "/v1/detokenize"])
async def test_a_server_without_a_tokenizer_says_so(path: str) -> None:
    with pytest.raises(NotFound, match="does not serve this endpoint"):
        await answer(Server({}), path, Flavour.OPENAI, prompt="hi", tokens=[1])


async def test_embeddings_count_prompt_tokens_alone() -> None:
    vectors = [{"index": 0, "embedding": [1, 0]}]
    server = Server({"data": vectors, "usage": {"prompt_tokens": 4, "completion_tokens": 9}})
    told = await answer(server, "/v1/embeddings", Flavour.SGLANG, input="hi", dimensions=2)
    assert server.asked == [("/v1/embeddings", {"model": "own", "input": "hi", "dimensions": 2})]
    assert told.tokens == Tokens(prompt=4)
    assert told.payload["model"] == "shown"
    server.told = {"data": vectors}
    assert (await answer(server, "/v1/embeddings", Flavour.VLLM, input="hi")).tokens == Tokens()


async def test_an_answer_that_is_none_is_the_engines_failure() -> None:
    for path in ("/v1/embeddings", "/v1/tokenize", "/v1/detokenize"):
        with pytest.raises(EngineFailed):
            await answer(Server(None), path, Flavour.VLLM, input="a", prompt="a", tokens=[1])


async def test_prompts_are_counted_where_there_is_a_tokenizer() -> None:
    server = Server({"tokens": [1, 2]})
    prompts = ["hi", [7, 8, 9]]
    assert await silent.count(server.ask, prompts, Flavour.VLLM, model="own") == 5
    assert await silent.count(server.ask, prompts, Flavour.SGLANG, model="own") == 5
    assert [path for path, _ in server.asked] == ["/tokenize", "/v1/tokenize"]
    assert await silent.count(server.ask, prompts, Flavour.OPENAI, model="own") is None
    server.told = {"error": "x"}
    assert await silent.count(server.ask, prompts, Flavour.LLAMACPP, model="own") is None


def test_what_cannot_be_counted_is_refused_in_words() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    body = {"messages": [{"role": "user", "content": [picture]}]}
    assert silent.counted(body, 7).payload == {"input_tokens": 7}
    with pytest.raises(UnsupportedValue) as caught:
        silent.counted(body, None)
    assert caught.value.param == "messages"
    with pytest.raises(NotFound, match="does not serve this endpoint"):
        silent.counted({"messages": []}, None)


@pytest.mark.parametrize(
    ("status", "body", "absent"),
    [
        (404, {"detail": "Not Found"}, True),
        (501, {"error": {"code": 501, "message": "This server does not support it"}}, True),
        (400, {"message": "The model is not an embedding model"}, True),
        (400, {"message": "bad"}, False),
        (503, None, False),
    ],
)
def test_a_missing_endpoint_is_told_from_a_failing_one(
    status: int, body: Any, *, absent: bool
) -> None:
    assert is_absent(status, body) is absent


async def test_the_scripted_engine_knows_the_numbers_of_bytes_only() -> None:
    request = asking("/v1/detokenize", {"model": "scripted", "tokens": [256]})
    with pytest.raises(RequestError):
        await anext(ScriptedEngine().run(request))
    near, far = vector("the silk moth"), vector("prime numbers grow")
    moth = vector("a silk moth")
    assert sum(a * b for a, b in zip(near, moth, strict=True)) > sum(
        a * b for a, b in zip(far, moth, strict=True)
    )
