"""The network's own chain: whether this machine can run one, starting it, and its faucet."""

from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, Final

import httpx2

from bombyx.cli import catalogue
from bombyx.cli.network.plan import ChainKind, chain_recipe, chain_settings
from bombyx.cli.network.ports import free_port
from bombyx.cli.network.state import NetworkState
from bombyx.cli.network.supervisor import Supervisor
from bombyx.errors import RemoteError

PORT: Final = 8181
"""The first to try."""
NO_TVM: Final = (
    "no payment channels, prepaid credit pays: the TVM is not installed "
    "(`make demo` and `make tools` install it where Node 20 and npm are)"
)
_TVM: Final = "contracts/node_modules/@ton/sandbox"
_LIBRARIES: Final = ("aiohttp", "py_mini_racer", "pytoniq_core")
_SECONDS: Final = 10.0
_OK: Final = 200


class Chain:
    """A devnet that runs; it makes as much money as is asked for."""

    def __init__(self, ready: dict[str, Any]) -> None:
        """From its ready line."""
        self.document = ready
        self.network = int(ready["network"])
        self.settings = chain_settings([str(ready["api_v2"])], self.network)
        self._http = httpx2.Client(timeout=_SECONDS, trust_env=False)

    def __repr__(self) -> str:
        return f"Chain({self.document['url']})"

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def balance(self, address: str) -> int:
        """Nano of an account, 0 where there is none; raises `RemoteError`."""
        url = f"{self.document['api_v2']}/getAddressBalance"
        return int(self._told(self._http.get, url, params={"address": address})["result"])

    def fees(self) -> int:
        """All that was ever paid in fees, in nano."""
        return int(self._told(self._http.get, f"{self.document['url']}/devnet/status")["fees_nano"])

    def fill(self, address: str, amount: int) -> None:
        """See to it that an account has `amount` nano at least."""
        missing = amount - self.balance(address)
        if missing > 0:
            asked = {"address": address, "amount_nano": str(missing)}
            self._told(self._http.post, str(self.document["faucet"]), json=asked)

    def _told(self, ask: Callable[..., httpx2.Response], url: str, **given: Any) -> dict[str, Any]:
        try:
            answer = ask(url, **given)
            if answer.status_code == _OK:
                return dict(answer.json())
        except (httpx2.HTTPError, ValueError) as error:
            raise RemoteError(f"the devnet does not answer: {type(error).__name__}") from None
        raise RemoteError(f"the devnet answered {answer.status_code}")


def start_chain(
    state: NetworkState, kind: ChainKind, supervisor: Supervisor, say: Callable[[str], None]
) -> Chain | None:
    """The devnet, or None where there is none; raises `SetupError`."""
    if kind is ChainKind.NONE:
        return None
    if kind is ChainKind.AUTO and not is_installed():
        say(NO_TVM)
        return None
    (ready,) = supervisor.start([chain_recipe(state, port=free_port(PORT))])
    return Chain(ready)


def is_installed() -> bool:
    """Whether `bombyx devnet` would find all that it needs; imports none of it."""
    point = catalogue.installed().get("devnet")
    if point is None or not catalogue.is_present(point):
        return False
    if any(PathFinder.find_spec(name) is None for name in _LIBRARIES):
        return False
    spec = PathFinder.find_spec("ton")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    return any((Path(folder) / _TVM).is_dir() for folder in folders)
