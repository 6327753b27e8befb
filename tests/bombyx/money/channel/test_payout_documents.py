"""SPEC 8.7: payout channels on the link, and which of them a worker takes."""

import hashlib
from typing import Any

import msgspec
import pytest

from bombyx import canonical
from bombyx.errors import (
    ChannelAddressWrong,
    ChannelKeyWeak,
    ChannelNotOurs,
    ChannelPeriodRefused,
)
from bombyx.money.channel.identity import PAYOUT_CHALLENGE_S, Channel
from bombyx.money.channel.payout_documents import (
    HeldPayout,
    PayoutChannel,
    PayoutFile,
    SeenFile,
    SeenPayout,
    admit_payout,
    nobodys_key,
    payout_channel_of,
)
from bombyx.money.voucher import is_strong_key
from tests.bombyx.money.channel import parties

OWNER = hashlib.sha256(b"owner").digest()
KEY = nobodys_key(OWNER)


def channel(**fields: Any) -> Channel:
    given = {"gateway": OWNER, "gateway_key": KEY, "challenge_period": PAYOUT_CHALLENGE_S}
    return Channel(parties.NETWORK, parties.config(**given | fields))


def admit(told: PayoutChannel) -> Channel:
    return admit_payout(told, payee=OWNER, payee_key=KEY)


def test_a_channel_reads_back_from_its_document() -> None:
    told = payout_channel_of(channel(salt=2**64 - 1))
    assert canonical.decode(canonical.encode(told), PayoutChannel) == told
    taken = admit(told)
    assert (taken.network, taken.config) == (parties.NETWORK, channel(salt=2**64 - 1).config)
    assert repr(told) == f"PayoutChannel(tvm:-239, {taken.account.hex()})"


@pytest.mark.spec("8.7-b", "8.5-a")
@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"gateway": parties.PAYEE}, ChannelNotOurs),
        ({"gateway_key": parties.GATEWAY.public_key}, ChannelNotOurs),
        ({"challenge_period": PAYOUT_CHALLENGE_S - 1}, ChannelPeriodRefused),
        ({"client_key": bytes(32)}, ChannelKeyWeak),
    ],
    ids=["payee", "key", "period", "weak"],
)
def test_a_channel_that_is_not_the_owners_is_refused(
    fields: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        admit(payout_channel_of(channel(**fields)))


@pytest.mark.spec("8.7-b")
@pytest.mark.parametrize(
    "changes",
    [
        {"channel": "00" * 32},
        {"salt": "8"},
        {"salt": str(2**64)},
        {"network": "tvm:-3"},
        {"network": "tvm:9999999999"},
    ],
    ids=str,
)
def test_an_address_that_does_not_follow_is_refused(changes: dict[str, str]) -> None:
    told = msgspec.structs.replace(payout_channel_of(channel()), **changes)
    if changes.get("network") == "tvm:-3":  # in a voucher's hash, not in the address
        assert admit(told).network == -3
        return
    with pytest.raises(ChannelAddressWrong):
        admit(told)


@pytest.mark.spec("8.7-c")
def test_nobodys_key_is_strong_and_each_accounts_own() -> None:
    keys = {nobodys_key(hashlib.sha256(bytes([at])).digest()) for at in range(50)}
    assert len(keys) == 50
    assert all(is_strong_key(key) for key in keys)


def test_the_files_read_back() -> None:
    told = payout_channel_of(channel())
    held = HeldPayout(
        gateway="00" * 32, payout_channel=told, billed_nano="5", is_current=True,
        voucher=parties.document(5),
    )  # fmt: skip
    file = PayoutFile(v="bombyx-payouts/1", payout="0:" + OWNER.hex(), held=[held])
    assert canonical.decode(canonical.encode(file), PayoutFile) == file
    seen = SeenPayout(
        network=told.network, channel=told.channel, deposited="1", claimed="0", close_at=0,
        closed=False,
    )  # fmt: skip
    both = SeenFile(v="bombyx-payouts-seen/1", at=1, seen=[seen])
    assert canonical.decode(canonical.encode(both), SeenFile) == both
