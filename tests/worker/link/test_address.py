"""From what an owner types to what is dialled, and through which proxy."""

import pytest

from bombyx.errors import SetupError
from worker.link.address import link_url, proxy_for


@pytest.mark.parametrize(
    ("typed", "dialled"),
    [
        ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/v1/workers/link/0"),
        ("https://gateway.example/", "wss://gateway.example/v1/workers/link/0"),
        ("wss://gateway.example/v1/workers/link/3", "wss://gateway.example/v1/workers/link/3"),
    ],
)
def test_an_http_url_becomes_the_link_s(typed: str, dialled: str) -> None:
    assert link_url(typed) == dialled


@pytest.mark.parametrize(
    "typed",
    ["", "gateway.example", "ftp://x", "http://", "http://a:b@x", "http://x/path", "ws://x?q=1"],
)
def test_what_is_no_gateway_is_refused(typed: str) -> None:
    with pytest.raises(SetupError):
        link_url(typed)


def test_the_environment_s_proxy_is_honoured_but_not_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "inside.example")
    assert proxy_for("wss://gateway.example/x") == "http://proxy.example:3128"
    assert proxy_for("wss://inside.example/x") is None
    assert proxy_for("wss://127.0.0.1:1/x") is None
    assert proxy_for("ws://localhost:1/x") is None
