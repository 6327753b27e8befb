"""A pytest plugin: one test for each attack, against a network that the tests name.

A test that asks for the fixture `bombyx_attack` runs once for each attack and gets its outcome:

    def test_our_gateway_holds(bombyx_attack):
        assert bombyx_attack.result == "defeated", bombyx_attack.observed

The victim is given by options (`--bombyx-attack-gateway URL` and so on), or by a fixture
`bombyx_against` of one's own; without either a network of our own is started. Nothing is imported
before a test asks, since pytest loads this wherever the library is installed.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from bombyx.attack.against import Against
    from bombyx.attack.record import Outcome
    from bombyx.attack.siege import Siege

_OPTIONS = {
    "gateway": "attack this gateway instead of a network of our own",
    "api-key": "a key of that gateway (or BOMBYX_ATTACK_API_KEY)",
    "second-api-key": "a key of another account there",
    "policy": "which of its workers clients accept",
    "simulated-root": "its simulated root, to pose as workers of its",
    "sidecar": "attack this sidecar",
    "client": "a command to be the client in place of the library",
    "only": "names or roles of attacks, separated by commas",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options that name a victim."""
    group = parser.getgroup("bombyx", "attacks on an implementation of bombyx/1")
    for name, text in _OPTIONS.items():
        group.addoption(f"--bombyx-attack-{name}", default="", help=text)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each attack."""
    if "bombyx_attack" not in metafunc.fixturenames:
        return
    from bombyx.attack.run import chosen  # noqa: PLC0415 - only where it is asked for
    from bombyx.errors import SetupError  # noqa: PLC0415 - the same

    try:
        attacks = chosen(_only(metafunc.config))
    except SetupError as error:
        raise pytest.UsageError(error.message) from None
    metafunc.parametrize("bombyx_attack", attacks, ids=[one.name for one in attacks], indirect=True)


def _only(config: pytest.Config) -> list[str]:
    return [name for name in _option(config, "only").split(",") if name]


def _option(config: pytest.Config, name: str) -> str:
    value: Any = config.getoption(f"--bombyx-attack-{name}")
    return str(value)


@pytest.fixture(scope="session")
def bombyx_against(pytestconfig: pytest.Config) -> "Against":
    """Whom to attack; a fixture of the same name overrides it."""
    from bombyx.attack.against import Against  # noqa: PLC0415 - only where it is asked for

    policy, root = _option(pytestconfig, "policy"), _option(pytestconfig, "simulated-root")
    return Against(
        gateway=_option(pytestconfig, "gateway"),
        api_key=_option(pytestconfig, "api-key") or os.environ.get("BOMBYX_ATTACK_API_KEY", ""),
        second_key=_option(pytestconfig, "second-api-key"),
        policy=Path(policy) if policy else None,
        simulated_root=Path(root) if root else None,
        sidecar=_option(pytestconfig, "sidecar"),
        client=_option(pytestconfig, "client"),
    )


@pytest.fixture(scope="session")
def bombyx_siege(bombyx_against: "Against", pytestconfig: pytest.Config) -> Iterator["Siege"]:
    """The victim, running, with everything that attacks share."""
    from bombyx.attack.run import chosen  # noqa: PLC0415 - only where it is asked for
    from bombyx.attack.siege import siege  # noqa: PLC0415 - the same

    with siege(bombyx_against, chosen(_only(pytestconfig))) as running:
        yield running


@pytest.fixture
def bombyx_attack(request: pytest.FixtureRequest, bombyx_siege: "Siege") -> "Outcome":
    """The outcome of one attack; skips those that the victim has nothing for."""
    attack = request.param
    if not attack.fits(bombyx_siege.target):
        pytest.skip("the target lacks what this attack needs")
    return bombyx_siege.run(attack)
