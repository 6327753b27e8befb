import pytest

from bombyx.chat.usage import UsageTally, billable, check_tokens, openai_usage
from bombyx.errors import EngineFailed
from bombyx.money.cost import Tokens


def test_each_counter_keeps_its_maximum() -> None:
    tally = UsageTally()
    assert tally.tokens == Tokens()
    tally.observe({"prompt_tokens": 10, "completion_tokens": 5})
    tally.observe({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 8}})
    tally.observe({"completion_tokens": 7, "prompt_tokens_details": None})
    assert tally.tokens == Tokens(prompt=10, cached=8, completion=7)


@pytest.mark.parametrize(
    "usage",
    [
        {"completion_tokens": 9, "reasoning_tokens": 4},
        {"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 4}},
        {
            "completion_tokens": 9,
            "reasoning_tokens": 0,
            "completion_tokens_details": {"reasoning_tokens": 4},
        },
    ],
)
def test_reasoning_is_read_in_both_places(usage: dict[str, object]) -> None:
    tally = UsageTally()
    tally.observe(usage)
    assert tally.tokens == Tokens(completion=9, reasoning=4)


@pytest.mark.parametrize("odd", [-1, 1.5, "7", True, None, 2**53])
def test_what_is_no_count_is_passed_over(odd: object) -> None:
    tally = UsageTally()
    tally.observe({"prompt_tokens": odd, "completion_tokens_details": {"reasoning_tokens": odd}})
    assert tally.tokens == Tokens()


def test_parts_never_exceed_their_wholes() -> None:
    tally = UsageTally()
    tally.observe({"prompt_tokens_details": {"cached_tokens": 50}, "reasoning_tokens": 50})
    assert tally.tokens == Tokens()


@pytest.mark.parametrize(("cached", "billed"), [(0, 0), (63, 0), (64, 64), (191, 128)])
def test_cached_tokens_are_billed_in_steps_of_64(cached: int, billed: int) -> None:
    tokens = Tokens(prompt=200, cached=cached, completion=3, reasoning=1)
    assert billable(tokens) == Tokens(prompt=200, cached=billed, completion=3, reasoning=1)


def test_counts_beyond_the_requests_limits_are_a_lie() -> None:
    check_tokens(Tokens(prompt=5, completion=6), max_input=5, max_output=6)
    with pytest.raises(EngineFailed):
        check_tokens(Tokens(prompt=6), max_input=5, max_output=6)
    with pytest.raises(EngineFailed):
        check_tokens(Tokens(completion=7), max_input=5, max_output=6)


def test_the_usage_object_has_both_details_always() -> None:
    assert openai_usage(Tokens(prompt=2, completion=3)) == {
        "prompt_tokens": 2,
        "completion_tokens": 3,
        "total_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
