"""From settings to a `ChainClient`: which providers, how many must agree."""

from collections.abc import Sequence
from typing import Final

import httpx2

from bombyx.errors import SetupError
from ton.chain.agreed import PATIENCE, AgreedChain
from ton.chain.liteserver.link import Link
from ton.chain.liteserver.node import Liteserver
from ton.chain.liteserver.place import is_liteserver, parse_place
from ton.chain.port import Node
from ton.chain.toncenter import Toncenter
from ton.chain.wire import Wire
from ton.settings import DEVNET, MAINNET, TESTNET, TonSettings

MIN_MAINNET: Final = 2
"""Providers that must agree before money moves where money is worth something."""
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_TESTNET_URL: Final = "https://testnet.toncenter.com/api/v2"


def open_chain(
    settings: TonSettings, *, patience: tuple[float, ...] = PATIENCE, poll: float = 1.0
) -> AgreedChain:
    """The chain of `[ton]`; raises `SetupError`. Nothing is asked yet. See `AgreedChain`."""
    urls = settings.providers or _default(settings)
    keys = [key.get_secret_value() or None for key in settings.api_keys]
    if len(keys) > len(urls):
        raise SetupError("[ton] api_keys: there are more keys than providers")
    keys += [None] * (len(urls) - len(keys))
    nodes = [_node(url, key, settings) for url, key in zip(urls, keys, strict=True)]
    _check(urls, nodes, settings)
    return AgreedChain(
        nodes,
        network=settings.network,
        quorum=settings.quorum,
        patience=patience,
        poll=poll,
    )


def _default(settings: TonSettings) -> tuple[str, ...]:
    if settings.network == DEVNET:
        return (f"http://127.0.0.1:{settings.devnet_port}/api/v2",)
    if settings.network == TESTNET:
        return (_TESTNET_URL,)
    raise SetupError("[ton] providers: name the toncenter APIs or liteservers to ask")


def _node(url: str, key: str | None, settings: TonSettings) -> Node:
    """One provider, by the kind that its scheme names; it connects when it is first asked."""
    seconds, per_second = settings.timeout_seconds, settings.requests_per_second
    if is_liteserver(url):
        if key is not None:
            raise SetupError("[ton] api_keys: a liteserver takes none, leave its place empty")
        link = Link(parse_place(url), seconds=seconds, per_second=per_second)
        return Liteserver(link, network=settings.network)
    wire = Wire(url, name=_name(_parsed(url)), api_key=key, seconds=seconds, per_second=per_second)
    return Toncenter(wire, network=settings.network)


def _name(url: httpx2.URL) -> str:
    """Host and port: an API key in a path stays out of errors."""
    return url.netloc.decode("ascii").rpartition("@")[2]


def _check(urls: Sequence[str], nodes: Sequence[Node], settings: TonSettings) -> None:
    keys = [parse_place(url).key for url in urls if is_liteserver(url)]
    if len({node.name for node in nodes}) != len(nodes) or len(set(keys)) != len(keys):
        raise SetupError("[ton] providers: one host twice is one opinion")
    if settings.network != MAINNET:
        return
    quorum = settings.quorum if settings.quorum is not None else len(urls) // 2 + 1
    if min(len(urls), quorum) < MIN_MAINNET:
        raise SetupError(
            f"[ton] providers: mainnet needs {MIN_MAINNET} independent ones that agree"
        )


def _parsed(url: str) -> httpx2.URL:
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL:
        raise SetupError("[ton] providers: one of them is no URL") from None
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise SetupError("[ton] providers: one of them is no http(s) or liteserver:// URL")
    if parsed.scheme != "https" and parsed.host not in _LOOPBACK:
        raise SetupError(f"[ton] providers: {parsed.host} must be https, or on this machine")
    return parsed
