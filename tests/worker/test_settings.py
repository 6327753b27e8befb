"""The worker's settings: one price stands for four, where an owner wants no more than that."""

from pathlib import Path
from typing import Any

import pytest

from bombyx.errors import SetupError
from bombyx.settings import load_settings
from worker.settings import WorkerSettings


def prices(**given: Any) -> tuple[int, int, int, int]:
    settings, _ = load_settings(WorkerSettings, "worker", given, environ={})
    return (
        settings.price_prompt,
        settings.price_cached,
        settings.price_completion,
        settings.price_reasoning,
    )


def test_one_price_stands_for_all_in_the_proportions_of_the_defaults() -> None:
    assert prices(price=60_000_000) == prices()
    assert prices(price=12) == (4, 1, 12, 12)
    assert prices(price=0) == (0, 0, 0, 0)


def test_a_price_that_is_named_goes_before_it() -> None:
    assert prices(price=12, price_cached=7) == (4, 7, 12, 12)


def test_a_price_of_the_environment_is_one() -> None:
    settings, _ = load_settings(WorkerSettings, "worker", environ={"BOMBYX_WORKER_PRICE": "12"})
    assert (settings.price_prompt, settings.price_completion) == (4, 12)


def test_a_stronger_source_beats_price_and_the_four_alike(tmp_path: Path) -> None:
    file = tmp_path / "bombyx.toml"
    file.write_text("[worker]\nprice_prompt = 20\nprice_reasoning = 60\n")
    environ = {"BOMBYX_WORKER_PRICE": "12"}
    settings, origins = load_settings(WorkerSettings, "worker", config=file, environ=environ)
    assert (settings.price_prompt, settings.price_reasoning) == (4, 12)
    assert origins["price_prompt"] == origins["price"]
    file.write_text("[worker]\nprice = 12\n")
    environ = {"BOMBYX_WORKER_PRICE_PROMPT": "7"}
    settings, _ = load_settings(WorkerSettings, "worker", config=file, environ=environ)
    assert (settings.price_prompt, settings.price_completion) == (7, 12)


@pytest.mark.parametrize("wrong", ["much", float("inf"), -1, 2**63, 1.5, [1]])
def test_what_is_no_price_is_told_once(wrong: object) -> None:
    with pytest.raises(SetupError) as refused:
        prices(price=wrong)
    assert refused.value.message.startswith("[worker] price: ")
    assert "price_prompt" not in refused.value.message


WALLET = "UQDoh95VcITrdK8unjs2NsGWycK_IOeirJKhn_28tTWr9Ti4"


@pytest.mark.parametrize("wallet", [WALLET, "0:" + "ab" * 32, "local:worker-1", "unset"])
def test_addresses_and_names_of_local_networks_are_wallets(wallet: str) -> None:
    settings, _ = load_settings(WorkerSettings, "worker", {"wallet": wallet}, environ={})
    assert settings.wallet == wallet


@pytest.mark.parametrize(
    "wallet", [WALLET.replace("y", "z", 1), WALLET[:-1], WALLET[:40], "-1:" + "ab" * 32, "0:ab"]
)
def test_an_address_that_nobody_could_be_paid_at_is_refused(wallet: str) -> None:
    with pytest.raises(SetupError, match=r"wallet: is no address of TON.*\(from flag --wallet\)"):
        load_settings(WorkerSettings, "worker", {"wallet": wallet}, environ={})
