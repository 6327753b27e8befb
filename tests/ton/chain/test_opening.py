"""From `[ton]` to a chain: which providers are enough, and which are none."""

import tomllib
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from bombyx.errors import SetupError
from ton.chain.opening import open_chain
from ton.settings import DEVNET, MAINNET, TESTNET, TonSettings

A, B, C = (f"https://{name}.example/api/v2" for name in "abc")
KEYS = [bytes(SigningKey(bytes([n]) * 32).verify_key).hex() for n in range(2)]
LITE, OTHER_LITE = (f"liteserver://l{n}.example:49/{key}" for n, key in enumerate(KEYS))


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
        ({"network": MAINNET}, "name the toncenter APIs or liteservers"),
        ({"network": 5}, "name the toncenter APIs or liteservers"),
        ({"network": MAINNET, "providers": (A,)}, "mainnet needs 2 independent"),
        ({"network": MAINNET, "providers": (A, A)}, "one host twice is one opinion"),
        ({"providers": ("http://a.example/api/v2",)}, "a.example must be https"),
        ({"providers": ("ftp://a.example",)}, "no http"),
        ({"providers": ("a.example",)}, "no http"),
        ({"providers": ("http://a:b:c",)}, "is no URL"),
        ({"providers": (A,), "api_keys": ("x", "y")}, "more keys than providers"),
        ({"providers": (A, B), "quorum": 1}, "no quorum"),
        ({"network": MAINNET, "providers": (LITE,)}, "mainnet needs 2 independent"),
        ({"providers": (LITE, f"liteserver://x:1/{KEYS[0]}")}, "one host twice is one opinion"),
        ({"providers": (LITE, LITE)}, "one host twice is one opinion"),
        ({"providers": ("liteserver://x:1",)}, "after x:1/ belongs the liteserver's public key"),
        ({"providers": (A, LITE), "api_keys": ("", "x")}, "a liteserver takes none"),
    ],
)
def test_what_could_be_fooled_is_refused(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(SetupError, match=sentence) as refused:
        names(**settings)
    assert "'x'" not in str(refused.value)


def test_liteservers_stand_among_the_others_by_host_and_port() -> None:
    mixed = names(network=MAINNET, providers=(A, LITE, OTHER_LITE), api_keys=("x", ""))
    assert mixed == (["a.example", "l0.example:49", "l1.example:49"], 2)


def test_keys_in_urls_stay_out_of_names() -> None:
    assert names(providers=("https://user:secret@a.example/key/api/v2",))[0] == ["a.example"]


def test_our_devnets_are_no_public_network() -> None:
    assert DEVNET not in (MAINNET, TESTNET)
    assert -(2**31) <= DEVNET < 2**31


def test_the_mixture_that_the_documentation_shows_is_one() -> None:
    text = (Path(__file__).parents[3] / "docs" / "payments.md").read_text()
    shown = text.partition("### Liteservers")[2].partition("```toml\n")[2].partition("```")[0]
    listed, quorum = names(**tomllib.loads(shown)["ton"])
    assert listed == ["toncenter.com", "ls.example.com:4924", "192.0.2.7:19949"]
    assert quorum == 2
