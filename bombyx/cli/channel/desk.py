"""What every `bombyx channel` command stands on: settings, folders, gateway and chain."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bombyx.attestation.policy import Policy
from bombyx.cli.output import Output
from bombyx.client.channel.chain_port import ChainSide
from bombyx.client.channel.funder import direct_client
from bombyx.client.channel.funding import Terms
from bombyx.client.channel.gateway import GatewayRoutes
from bombyx.client.channel.marks import CLOSED, is_marked
from bombyx.client.channel.payer import Payer
from bombyx.client.channel.records import ChannelRecord
from bombyx.client.channel.setting import caps_of, side_of, terms_of
from bombyx.client.channel.wallet import FOLDER, Survey, named_folders, open_payer, survey
from bombyx.client.opening import unix_seconds
from bombyx.client.settings import ClientSettings
from bombyx.errors import SetupError
from bombyx.settings import load_settings, state_directory


@dataclass(frozen=True, slots=True)
class Given:
    """The flags that all commands share."""

    state: Path | None = None
    config: Path | None = None
    gateway: str | None = None
    api_key: str | None = None
    policy: Path | None = None
    mnemonic_file: Path | None = None
    wallet: str | None = None
    as_json: bool = False


class Desk:
    """One command's means; nothing is opened before it is asked for."""

    def __init__(self, given: Given) -> None:
        names = ("gateway", "api_key", "policy", "mnemonic_file")
        flags = {name: getattr(given, name) for name in names}
        self.settings, _ = load_settings(ClientSettings, "client", flags, config=given.config)
        self.output = Output(as_json=given.as_json)
        self.root = state_directory(given.state) / FOLDER
        self._given = given

    def say(self, sentence: str) -> None:
        """Progress."""
        self.output.say(sentence)

    def terms(self, policy: Policy) -> Terms:
        """What the owner allows."""
        return terms_of(self.settings, policy, self.root, unix_seconds)

    def survey(self, name: str | None) -> Survey:
        """The channels whose address begins so, all without a name; says which are broken.

        Raises `SetupError` where a name means none, or only what is broken.
        """
        chosen = named_folders(self.root, (name or "").removeprefix("0:"))
        if name is not None and not chosen:
            raise SetupError(f"there is no channel {name} in {self.root}")
        seen = survey(chosen)
        if name is not None and seen.broken and not seen.found:
            raise seen.broken[0].error
        for one in seen.broken:
            self.say(f"a channel is left out: {one.error.message}")
        return seen

    def folders(self, name: str | None) -> list[Path]:
        """The folders of those that can be read."""
        return [one.folder for one in self.survey(name).found]

    def one(self, name: str | None) -> Payer:
        """The channel that is meant, taken for this process; raises `SetupError`.

        Without a name it is the one that is not closed.
        """
        found = self.folders(name)
        chosen = [one for one in found if name is not None or not is_marked(one, CLOSED)]
        if len(chosen) != 1:
            none = "all channels are closed" if found else "there is no channel"
            why = "several channels are meant" if chosen else none
            raise SetupError(f"{why}: name one (`bombyx channel status` lists them)")
        return self.take(chosen[0])

    def take(self, folder: Path) -> Payer:
        """The channel of a folder, for this process; raises `SetupError`."""
        return open_payer(folder, caps_of(self.settings), clock=unix_seconds)

    @property
    def authorization(self) -> str:
        """The header of the gateway's key; raises `SetupError` without one."""
        if self.settings.api_key is None:
            raise SetupError("name the gateway's key: --api-key-file, or BOMBYX_CLIENT_API_KEY")
        return f"Bearer {self.settings.api_key.get_secret_value()}"

    @property
    def origin(self) -> str:
        """The gateway's URL without /v1; raises `SetupError` without one."""
        if self.settings.gateway is None:
            raise SetupError("name the gateway: --gateway URL, or BOMBYX_CLIENT_GATEWAY")
        return str(self.settings.gateway).rstrip("/").removesuffix("/v1")

    def origin_of(self, record: ChannelRecord) -> str:
        """A channel's gateway: where it was opened, unless the command says that it has moved."""
        return record.origin if self._given.gateway is None else self.origin

    @asynccontextmanager
    async def routes(self, origin: str) -> AsyncIterator[GatewayRoutes]:
        """The gateway's routes."""
        async with direct_client() as client:
            yield GatewayRoutes(client, origin=origin, authorization=self.authorization)

    @asynccontextmanager
    async def chain(self, *, sends: bool = False) -> AsyncIterator[ChainSide]:
        """The chain; where it `sends`, with a wallet. Raises `SetupError` without one."""
        words, address = self.settings.mnemonic_file, self._given.wallet
        if sends and words is None and address is None:
            raise SetupError(
                "name the wallet: --mnemonic-file FILE with its 24 words, or --wallet ADDRESS to "
                "get links that a wallet elsewhere opens"
            )
        opened = side_of(
            None if address is not None else words,
            address,
            state=self._given.state,
            config=self._given.config,
            show=lambda link: self.say(f"open this in your wallet: {link}"),
        )
        async with AsyncExitStack() as stack:
            yield await stack.enter_async_context(opened())
