"""A client whose clock is wrong is told so, in words that it can act upon (SPEC 4, 13.1)."""

import openai
import pytest

from tests.bombyx.client.conftest import Clock
from tests.bombyx.client.peer import Peer
from tests.factories import NOW

DAY = 24 * 3600


async def refusal(sdk: openai.AsyncOpenAI, code: str = "no_verified_worker") -> str:
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.chat.completions.create(
            model="smol", messages=[{"role": "user", "content": "hi"}]
        )
    assert caught.value.code == code
    return caught.value.message


@pytest.mark.spec("4-j")
@pytest.mark.parametrize(
    ("off", "where"),
    [(7 * DAY, f"{7 * DAY} s ahead of"), (-40 * DAY, f"{40 * DAY} s behind")],
    ids=["ahead", "behind"],
)
async def test_a_clock_that_is_far_off_is_named_as_the_cause(
    sdk: openai.AsyncOpenAI, clock: Clock, peer: Peer, off: int, where: str
) -> None:
    clock.now = NOW + off
    message = await refusal(sdk)
    assert f"This machine's clock is {where} the gateway's (limit 300 s)" in message
    assert "set the clock right" in message
    assert all(received.method == "GET" for received in peer.received)


async def test_a_clock_that_is_right_is_not_blamed(sdk: openai.AsyncOpenAI, peer: Peer) -> None:
    peer.entries = []
    assert "clock" not in await refusal(sdk, "model_not_found")
