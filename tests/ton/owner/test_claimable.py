"""What can be claimed is the highest voucher of each channel, once, less what was claimed."""

from pathlib import Path

from bombyx import canonical
from bombyx.money.channel.payout_documents import (
    PAYOUTS_FILE,
    SEEN_FILE,
    HeldPayout,
    PayoutChannel,
    PayoutFile,
    SeenFile,
    SeenPayout,
)
from bombyx.money.channel.terms import Voucher
from tests.ton.owner.samples import AT, GATEWAY, sight
from ton.owner.status.asking import look
from ton.owner.status.claimable import payables_of, together
from ton.owner.status.document import owner_document
from ton.owner.status.problems import problems_of

NETWORK, KEY = "tvm:-3", "11" * 32


def held(channel: str, amount: int | None) -> HeldPayout:
    config = PayoutChannel(
        network=NETWORK,
        channel=channel * 32,
        client=KEY,
        gateway=KEY,
        client_key=KEY,
        gateway_key=KEY,
        challenge_period=259_200,
        salt="1",
    )
    if amount is None:
        return HeldPayout(GATEWAY, config, "0", is_current=True)
    voucher = Voucher("bombyx-voucher/1", NETWORK, channel * 32, str(amount), "22" * 64)
    return HeldPayout(GATEWAY, config, "0", is_current=True, voucher=voucher)


def file(*channels: HeldPayout) -> PayoutFile:
    return PayoutFile("bombyx-payouts/1", "EQowner", list(channels))


def seen(channel: str, claimed: int, *, at: int = AT, close_at: int = 0) -> SeenFile:
    one = SeenPayout(NETWORK, channel * 32, "1000", str(claimed), close_at, closed=False)
    return SeenFile("bombyx-payouts-seen/1", at, [one])


def test_workers_of_one_owner_share_a_channel_and_the_highest_voucher_counts() -> None:
    first = sight(payouts=file(held("aa", 500), held("bb", 70)), seen=seen("aa", 100, at=AT - 9))
    second = sight(payouts=file(held("aa", 400), held("cc", None)), seen=seen("aa", 200))
    told = owner_document([first, second], at=AT)
    assert told["totals"]["claimable_nano"] == str(500 - 200 + 70)
    amounts = [
        (one["channel"][:2], one["claimable_nano"], one["seen_at"]) for one in told["payouts"]
    ]
    assert amounts == [("aa", "300", AT), ("bb", "70", 0), ("cc", "0", 0)]


def test_a_channel_that_closes_is_named_as_long_as_there_is_something_to_claim() -> None:
    closing = sight(payouts=file(held("aa", 500)), seen=seen("aa", 100, close_at=AT + 60))
    (problem,) = problems_of(closing)
    assert problem.code == "channel_closes"
    gone = sight(document=None, payouts=closing.payouts, seen=closing.seen, silence="gone")
    assert [one.code for one in problems_of(gone)] == ["not_running", "channel_closes"]
    done = sight(payouts=file(held("aa", 500)), seen=seen("aa", 500, close_at=AT + 60))
    assert problems_of(done) == []


def test_the_files_of_a_state_folder_are_read_and_broken_ones_passed_over(tmp_path: Path) -> None:
    (tmp_path / PAYOUTS_FILE).write_bytes(canonical.encode(file(held("aa", 500))))
    (tmp_path / SEEN_FILE).write_bytes(b"{}")
    (found,) = look([tmp_path], (), models=(), now=lambda: AT)
    assert [one.claimable for one in together(payables_of(found))] == [500]
    assert found.seen is None


def test_no_more_can_be_claimed_than_was_seen_deposited() -> None:
    rich = sight(payouts=file(held("aa", 5_000)), seen=seen("aa", 100))
    told = owner_document([rich, sight(payouts=file(held("aa", 4_000)))], at=AT)
    (one,) = told["payouts"]
    assert (one["vouched_nano"], one["deposited_nano"]) == ("5000", "1000")
    assert one["claimable_nano"] == told["totals"]["claimable_nano"] == "900"
    (one,) = owner_document([sight(payouts=file(held("aa", 5)))], at=AT)["payouts"]
    assert (one["deposited_nano"], one["claimable_nano"]) == (None, "5")
