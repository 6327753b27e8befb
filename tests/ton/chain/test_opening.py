"""From `[ton]` to a chain: which providers are enough, and which are none."""

import pytest

from bombyx.errors import SetupError
from ton.chain.opening import open_chain
from ton.settings import DEVNET, MAINNET, TESTNET, TonSettings

A, B, C = (f"https://{name}.example/api/v2" for name in "abc")


def names(**settings: object) -> tuple[list[str], int]:
    chain = open_chain(TonSettings.model_validate(settings))
    return list(chain._nodes), chain._quorum


def test_the_defaults_are_the_devnet_of_this_machine_and_testnets_toncenter() -> None:
    assert names() == (["127.0.0.1:8181"], 1)
    assert names(devnet_port=9000) == (["127.0.0.1:9000"], 1)
    assert names(network=TESTNET) == (["testnet.toncenter.com"], 1)


def test_mainnet_takes_several_providers_and_a_majority() -> None:
    assert names(network=MAINNET, providers=(A, B)) == (["a.example", "b.example"], 2)
    assert names(network=MAINNET, providers=(A, B, C))[1] == 2
    assert names(network=MAINNET, providers=(A, B, C), quorum=3)[1] == 3


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"network": MAINNET}, "name the toncenter APIs"),
        ({"network": 5}, "name the toncenter APIs"),
        ({"network": MAINNET, "providers": (A,)}, "mainnet needs 2 independent"),
        ({"network": MAINNET, "providers": (A, A)}, "one host twice is one opinion"),
        ({"providers": ("http://a.example/api/v2",)}, "a.example must be https"),
        ({"providers": ("ftp://a.example",)}, "no http"),
        ({"providers": ("a.example",)}, "no http"),
        ({"providers": ("http://a:b:c",)}, "is no URL"),
        ({"providers": (A,), "api_keys": ("x", "y")}, "more keys than providers"),
        ({"providers": (A, B), "quorum": 1}, "no quorum"),
    ],
)
def test_what_could_be_fooled_is_refused(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(SetupError, match=sentence) as refused:
        names(**settings)
    assert "'x'" not in str(refused.value)


def test_keys_in_urls_stay_out_of_names() -> None:
    assert names(providers=("https://user:secret@a.example/key/api/v2",))[0] == ["a.example"]


def test_our_devnets_are_no_public_network() -> None:
    assert DEVNET not in (MAINNET, TESTNET)
    assert -(2**31) <= DEVNET < 2**31
