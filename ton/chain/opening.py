"""From settings to a `ChainClient`: which providers, how many must agree."""

from collections.abc import Sequence
from typing import Final

import httpx2

from bombyx.errors import SetupError
from ton.chain.agreed import PATIENCE, AgreedChain
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
    _check(urls, settings)
    keys = [key.get_secret_value() or None for key in settings.api_keys]
    keys += [None] * (len(urls) - len(keys))
    nodes = [
        Toncenter(
            Wire(
                url,
                name=name,
                api_key=key,
                seconds=settings.timeout_seconds,
                per_second=settings.requests_per_second,
            ),
            network=settings.network,
        )
        for url, name, key in zip(urls, _names(urls), keys, strict=True)
    ]
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
    raise SetupError("[ton] providers: name the toncenter APIs to ask")


def _names(urls: Sequence[str]) -> list[str]:
    """Host and port: an API key in a path stays out of errors."""
    return [httpx2.URL(url).netloc.decode("ascii").rpartition("@")[2] for url in urls]


def _check(urls: Sequence[str], settings: TonSettings) -> None:
    if len(settings.api_keys) > len(urls):
        raise SetupError("[ton] api_keys: there are more keys than providers")
    for url in urls:
        parsed = _parsed(url)
        if parsed.scheme != "https" and parsed.host not in _LOOPBACK:
            raise SetupError(f"[ton] providers: {parsed.host} must be https, or on this machine")
    if len(set(_names(urls))) != len(urls):
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
        raise SetupError("[ton] providers: one of them is no http(s) URL")
    return parsed
