"""Links to gateways that prove themselves (SPEC 17.11)."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from bombyx.attestation.policy import render_policy
from bombyx.attestation.ratls.verify import Presented, verify_gateway
from bombyx.client.ratls.connector_aiohttp import AttestedConnector
from bombyx.client.ratls.context import EvidenceError
from bombyx.errors import GatewayRefused, LinkError, PolicyError
from tests.bombyx.attestation import world
from tests.bombyx.attestation.ratls.minting import GATEWAY, HONEST, NOW, POLICY, TLS
from worker.link.ratls import check_gateway, connectors, plain_connector, reason_of


def socket_to(verified: object) -> Any:
    peer = SimpleNamespace(verified=verified)
    return SimpleNamespace(get_extra_info=lambda name: peer if name == "ssl_object" else None)


@pytest.mark.spec("17.11-j")
def test_a_link_whose_hello_another_gateway_signed_is_left() -> None:
    shown = Presented(HONEST.certificate(), TLS, is_resumed=False)
    verified = verify_gateway(shown, policy=POLICY, now=NOW)
    check_gateway(socket_to(verified), GATEWAY)
    with pytest.raises(LinkError, match="another"):
        check_gateway(socket_to(verified), "b8" * 32)


def test_a_plain_link_shows_nothing_to_compare() -> None:
    check_gateway(socket_to(None), GATEWAY)


@pytest.mark.spec("17.11-j")
async def test_with_a_policy_connections_are_attested_and_without_one_plain(
    tmp_path: Path,
) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(render_policy(POLICY))
    attested = connectors(file, clock=lambda: NOW)()
    assert isinstance(attested, AttestedConnector)
    plain = connectors(None, clock=lambda: NOW)()
    assert not isinstance(plain, AttestedConnector)
    assert connectors(None, clock=lambda: NOW) is plain_connector
    await attested.close()
    await plain.close()


@pytest.mark.parametrize("text", [render_policy(world.POLICY), "not toml", None])
def test_a_policy_that_no_gateway_can_meet_refuses_to_start(
    tmp_path: Path, text: str | None
) -> None:
    file = tmp_path / "policy.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(PolicyError, match=r"policy\.toml"):
        connectors(file, clock=lambda: NOW)


def test_a_refusal_is_told_in_its_own_words() -> None:
    error = aiohttp.ClientError()
    error.__cause__ = EvidenceError(GatewayRefused("measurement: no"))
    assert "measurement: no" in reason_of(error)
    assert reason_of(LinkError("out of order")) == "out of order"
    assert reason_of(ValueError("secret")) == "ValueError"


async def test_who_does_not_answer_is_told_in_words() -> None:
    async with aiohttp.ClientSession(connector=plain_connector()) as session:
        with pytest.raises(aiohttp.ClientError) as failed:
            await session.get("http://127.0.0.1:9")
    assert reason_of(failed.value) == "nobody answers there"
    assert reason_of(TimeoutError()) == "it does not answer in time"


def test_a_name_that_leads_nowhere_and_a_proxy_that_lets_no_link_through_are_told_in_words() -> (
    None
):
    key: Any = SimpleNamespace(host="gateway.example", port=443, ssl=True)
    unknown = aiohttp.ClientConnectorDNSError(key, OSError("no such name"))
    assert reason_of(unknown) == "its name leads nowhere"
    asked: Any = SimpleNamespace(real_url="wss://gateway.example")
    refused = aiohttp.WSServerHandshakeError(asked, (), status=403)
    assert reason_of(refused) == "a link is answered with 403, perhaps by a proxy on the way"
