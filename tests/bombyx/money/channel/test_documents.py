"""Registration, state and end of a channel as they go over HTTP (SPEC 7.10, 9.2)."""

import msgspec
import pytest

from bombyx import canonical
from bombyx.errors import ChannelAddressWrong, CloseTermsRefused, VoucherForged
from bombyx.money.channel.acceptance import ChannelRow
from bombyx.money.channel.closing import CloseTerms
from bombyx.money.channel.documents import (
    MAX_REGISTRATION_BYTES,
    CloseAnswer,
    Registration,
    State,
    check_close_answer,
    check_proof,
    config_of,
    encode_registration,
    registration_of,
    view_of,
)
from bombyx.money.channel.identity import Channel
from tests.bombyx.money.channel.parties import (
    CHANNEL,
    CLIENT,
    GATEWAY,
    NETWORK,
    STRANGER,
    ceiling,
    config,
)

REGISTRATION = registration_of(CHANNEL, CLIENT)


def test_a_registration_is_read_back_as_the_channel_that_it_is_of() -> None:
    read = canonical.decode(encode_registration(REGISTRATION), Registration)
    assert Channel(NETWORK, config_of(read)).account.hex() == read.channel
    check_proof(read, CHANNEL)


def test_the_longest_registration_fits_twice() -> None:
    longest = Channel(-(2**31) + 1, config(salt=2**64 - 1, challenge_period=2**32 - 1))
    encoded = encode_registration(registration_of(longest, CLIENT))
    assert 2 * len(encoded) < MAX_REGISTRATION_BYTES
    assert config_of(canonical.decode(encoded, Registration)).salt == 2**64 - 1


@pytest.mark.spec("7.10-a")
def test_only_the_holder_of_the_clients_key_can_register() -> None:
    with pytest.raises(VoucherForged):
        check_proof(registration_of(CHANNEL, STRANGER), CHANNEL)
    with pytest.raises(VoucherForged):
        check_proof(REGISTRATION, Channel(NETWORK, config(salt=8)))


def test_a_salt_that_no_channel_has_is_refused() -> None:
    with pytest.raises(ChannelAddressWrong):
        config_of(msgspec.structs.replace(REGISTRATION, salt=str(2**64)))


def test_documents_show_no_signatures() -> None:
    answer = CloseAnswer(amount_nano="5", valid_until=9, gateway_signature="ab" * 64)
    assert REGISTRATION.proof not in repr(REGISTRATION)
    assert repr(answer) == "CloseAnswer(5, until 9)"


@pytest.mark.parametrize(
    ("row", "state"),
    [
        (ChannelRow(), "open"),
        (ChannelRow(closing=True), "closing"),
        (ChannelRow(closing=True, halted=True), "halted"),
        (ChannelRow(closing=True, halted=True, closed=True), "closed"),
    ],
)
def test_a_view_says_in_one_word_what_can_still_be_done(row: ChannelRow, state: State) -> None:
    assert view_of(NETWORK, CHANNEL.account, row).state == state


def test_a_view_has_all_totals_as_text() -> None:
    row = ChannelRow(900, 100, 50, ceiling(200), claimed=30, close_at=7, closing=True)
    view = view_of(NETWORK, CHANNEL.account, row)
    told = msgspec.json.decode(canonical.encode(view))
    assert told == {
        "channel": CHANNEL.account.hex(),
        "network": "tvm:-239",
        "state": "closing",
        "deposited_nano": "900",
        "charged_nano": "100",
        "reserved_nano": "50",
        "ceiling_nano": "200",
        "claimed_nano": "30",
        "close_at": 7,
        "terms_until": 0,
    }


def answer(amount: int, until: int, signed: CloseTerms) -> CloseAnswer:
    return CloseAnswer(
        amount_nano=str(amount),
        valid_until=until,
        gateway_signature=GATEWAY.sign_close(CHANNEL, signed).hex(),
    )


@pytest.mark.spec("9.2-c")
def test_close_terms_count_with_the_gateways_signature_alone() -> None:
    terms = CloseTerms(5, 900)
    assert check_close_answer(CHANNEL, answer(5, 900, terms))[0] == terms
    for wrong in (answer(4, 900, terms), answer(5, 901, terms), answer(5, 2**32, terms)):
        with pytest.raises(CloseTermsRefused):
            check_close_answer(CHANNEL, wrong)
