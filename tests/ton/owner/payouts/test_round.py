"""SPEC 8.6: what an owner claims, when, and what it notices, on the real TVM."""

from pathlib import Path

import msgspec
import pytest

from bombyx.errors import SetupError
from bombyx.money.channel.payout_documents import PAYOUTS_FILE, SEEN_FILE
from tests.ton.channels.parties import GRAM, wallet_on
from tests.ton.owner.payouts.workers import GATEWAY, Scene
from ton.chain.agreed import AgreedChain
from ton.chain.errors import ChainUnreachable
from ton.channels import orders
from ton.channels.costs import attached, claim_cost
from ton.channels.history import history
from ton.codec.constants import Gas
from ton.devnet.chain import Devnet
from ton.owner.payouts.round import Owner
from ton.owner.payouts.watching import turn
from ton.wallet.errors import OrderFailed


@pytest.fixture
def scene(chain: AgreedChain, devnet: Devnet, tmp_path: Path) -> Scene:
    return Scene(chain, devnet, tmp_path)


def unheard(_: str) -> None:
    """Nobody listens."""


def owner_of(scene: Scene, *names: str) -> Owner:
    folders = [scene.root / name for name in names or ("a",)]
    return Owner(scene.chain, folders, unix=scene.devnet.now)


@pytest.mark.spec("8.6-a")
async def test_a_claim_waits_until_it_brings_a_hundred_times_its_cost(scene: Scene) -> None:
    await scene.deposit()
    scene.worker("a", [scene.held(100 * claim_cost() - 1)])
    owner = owner_of(scene)
    assert await owner.claim(scene.owner) == []
    (one,) = await owner.claim(scene.owner, all_=True)
    assert (one.exit_code, one.paid) == (0, 100 * claim_cost() - 1)
    assert 0 < one.gas_used <= 5_500
    scene.worker("a", [scene.held(2 * GRAM)])
    (one,) = await owner.claim(scene.owner)
    assert one.amount == 2 * GRAM
    assert one.paid == 2 * GRAM - (100 * claim_cost() - 1)
    assert await owner.claim(scene.owner, all_=True) == []


@pytest.mark.spec("8.6-a")
async def test_a_close_is_answered_at_once_whatever_little_it_brings(scene: Scene) -> None:
    channel = await scene.deposit()
    scene.worker("a", [scene.held(2 * claim_cost())])
    owner = owner_of(scene)
    assert await owner.claim(scene.owner) == []
    await scene.send(scene.gateway, orders.start_close(channel))
    said: list[str] = []
    troubles = await turn(owner, scene.owner, say=said.append)
    assert any("is closing channel" in one for one in troubles)
    assert len(said) == 1
    (standing,) = await owner.look()
    assert (standing.state, standing.claimable) == ("closing", 0)


@pytest.mark.spec("8.6-b")
async def test_one_rise_that_is_shown_to_two_workers_leaves_a_gap(scene: Scene) -> None:
    await scene.deposit()
    scene.worker("a", [scene.held(GRAM, billed=GRAM)])
    scene.worker("b", [scene.held(GRAM, billed=GRAM)])
    owner = owner_of(scene, "a", "b")
    (standing,) = await owner.look()
    assert (standing.payable.billed, standing.gap) == (2 * GRAM, GRAM)
    troubles = await turn(owner, scene.owner, say=unheard)
    assert any("billed more than its voucher" in one for one in troubles)
    (alone,) = await owner_of(scene, "a").look()
    assert alone.gap == 0


async def test_the_highest_voucher_of_all_workers_is_claimed_once(scene: Scene) -> None:
    await scene.deposit()
    scene.worker("a", [scene.held(GRAM)])
    scene.worker("b", [scene.held(3 * GRAM)])
    (one,) = await owner_of(scene, "a", "b").claim(scene.owner)
    assert (one.amount, one.paid) == (3 * GRAM, 3 * GRAM)


async def test_several_channels_are_claimed_by_one_message(scene: Scene) -> None:
    for salt in (1, 2, 3):
        await scene.deposit(salt=salt)
    scene.worker("a", [scene.held(GRAM, salt=1), scene.held(2 * GRAM, salt=2)])
    scene.worker("b", [scene.held(3 * GRAM, salt=3)])
    seqno = (await scene.owner.step()).seqno
    claims = await owner_of(scene, "a", "b").claim(scene.owner)
    assert sorted(one.paid for one in claims) == [GRAM, 2 * GRAM, 3 * GRAM]
    assert (await scene.owner.step()).seqno == seqno + 1


@pytest.mark.spec("8.8-c")
async def test_each_worker_is_told_what_the_chain_shows_of_its_channels(scene: Scene) -> None:
    await scene.deposit()
    scene.worker("a", [scene.held(GRAM), scene.held(GRAM, salt=9)])
    scene.worker("b")
    standings = await owner_of(scene, "a", "b").look()
    assert sorted(one.state for one in standings) == ["absent", "open"]
    (seen,) = scene.told("a").seen
    assert (seen.deposited, seen.claimed, seen.closed) == (str(5 * GRAM), "0", False)
    # One that nobody pays yet hears that its owner watches.
    assert scene.told("b").seen == []


async def test_a_voucher_beyond_the_deposit_is_told_and_pays_what_is_there(scene: Scene) -> None:
    await scene.deposit(GRAM)
    scene.worker("a", [scene.held(3 * GRAM)])
    owner = owner_of(scene)
    (standing,) = await owner.look()
    assert (standing.claimable, standing.uncovered) == (GRAM, 2 * GRAM)
    (one,) = await owner.claim(scene.owner)
    assert one.paid == GRAM
    document = standing.document()
    assert document["gateway"] == GATEWAY
    assert (document["state"], document["uncovered_nano"]) == ("open", str(2 * GRAM))


async def test_another_wallet_claims_nothing(scene: Scene) -> None:
    await scene.deposit()
    scene.worker("a", [scene.held(GRAM)])
    assert await owner_of(scene).claim(wallet_on(scene.chain, "somebody")) == []


async def test_a_wallet_without_gas_is_told(
    chain: AgreedChain, devnet: Devnet, tmp_path: Path
) -> None:
    scene = Scene(chain, devnet, tmp_path, rich=False)
    await scene.deposit()
    scene.worker("a", [scene.held(GRAM)])
    (trouble,) = await turn(owner_of(scene), scene.owner, say=unheard)
    assert "lacks" in trouble


async def test_one_claim_waits_for_gas_however_often_its_total_grew(
    chain: AgreedChain, devnet: Devnet, tmp_path: Path
) -> None:
    scene = Scene(chain, devnet, tmp_path, rich=False)
    await scene.deposit(salt=1)
    await scene.deposit(salt=2)
    owner = owner_of(scene)
    other = scene.held(GRAM, salt=2)
    for amount in (GRAM, 2 * GRAM, 3 * GRAM):
        scene.worker("a", [scene.held(amount), other])
        (trouble,) = await turn(owner, scene.owner, say=unheard)
        assert "lacks" in trouble
    assert len(await scene.owner._outbox.queued(9)) == 2
    devnet.give(scene.owner.address, GRAM)
    claims = await owner.claim(scene.owner)
    assert sorted(one.paid for one in claims) == [GRAM, 3 * GRAM]
    events = await history(chain, scene.channel())
    assert [one.kind for one in events] == ["top_up", "claim"]


async def test_a_claim_that_the_wallet_could_not_send_is_made_again(
    chain: AgreedChain, devnet: Devnet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ton.wallet.wallet.FEE", 0)
    monkeypatch.setattr("ton.wallet.wallet.KEPT", 0)
    scene = Scene(chain, devnet, tmp_path, rich=False)
    await scene.deposit()
    scene.worker("a", [scene.held(GRAM)])
    devnet.give(scene.owner.address, attached(Gas.CLAIM) + 1)
    with pytest.raises(OrderFailed, match="skipped"):
        await owner_of(scene).claim(scene.owner)
    devnet.give(scene.owner.address, GRAM)
    (one,) = await owner_of(scene).claim(scene.owner)
    assert one.paid == GRAM


async def test_a_folder_of_several_workers_stands_for_them_and_is_told_nothing(
    scene: Scene,
) -> None:
    await scene.deposit()
    for name in ("gpu-0", "gpu-1"):
        scene.worker(name, [scene.held(GRAM, billed=GRAM)])
    owner = Owner(scene.chain, [scene.root], unix=scene.devnet.now)
    (standing,) = await owner.look()
    assert standing.payable.billed == 2 * GRAM
    assert not (scene.root / SEEN_FILE).exists()
    assert len(scene.told("gpu-1").seen) == 1
    scene.worker("gpu-2", [scene.held(GRAM, billed=GRAM)])
    (standing,) = await owner.look()
    assert standing.payable.billed == 3 * GRAM


@pytest.mark.parametrize("amount", ["2000000000", "999"])
async def test_a_voucher_that_nobody_signed_is_named(scene: Scene, amount: str) -> None:
    held = scene.held(GRAM)
    assert isinstance(held.voucher, msgspec.Struct)
    forged = msgspec.structs.replace(held.voucher, amount=amount)
    scene.worker("a", [msgspec.structs.replace(held, voucher=forged)])
    with pytest.raises(SetupError, match="not signed by the channel's client"):
        await owner_of(scene).look()


async def test_a_file_that_cannot_be_read_is_named(scene: Scene) -> None:
    folder = scene.worker("a")
    (folder / PAYOUTS_FILE).write_text("{}")
    with pytest.raises(SetupError, match="cannot be read"):
        await owner_of(scene).look()
    with pytest.raises(SetupError, match="name it with --state"):
        await owner_of(scene, "elsewhere").look()


async def test_a_channel_that_is_named_is_claimed_however_little_it_brings(scene: Scene) -> None:
    channel = await scene.deposit()
    scene.worker("a", [scene.held(1)])
    owner, name = owner_of(scene), channel.account.hex()
    assert await owner.claim(scene.owner, all_=True) == []
    (one,) = await owner.claim(scene.owner, only=name[:8])
    assert (one.channel, one.paid, one.exit_code) == (name, 1, 0)
    assert await owner.claim(scene.owner, only=name) == []
    other = "0" if name[0] != "0" else "1"
    with pytest.raises(SetupError, match="no channel that pays this wallet begins"):
        await owner.claim(scene.owner, only=other)


async def test_what_one_worker_earned_before_there_were_groups_is_claimed_too(scene: Scene) -> None:
    await scene.deposit()
    alone = scene.worker("a", [scene.held(GRAM)])
    (alone / PAYOUTS_FILE).rename(scene.root / PAYOUTS_FILE)
    scene.worker("gpu-0", [])
    owner = Owner(scene.chain, [scene.root], unix=scene.devnet.now)
    assert [one.paid for one in await owner.claim(scene.owner)] == [GRAM]
    assert (scene.root / SEEN_FILE).exists()


async def test_a_named_channel_that_cannot_be_seen_is_not_said_to_hold_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = await scene.deposit()
    scene.worker("a", [scene.held(1)])

    async def blind(*_: object) -> None:
        raise ChainUnreachable("nobody answers")

    monkeypatch.setattr("ton.owner.payouts.round.look", blind)
    with pytest.raises(SetupError, match="cannot be seen: nobody answers"):
        await owner_of(scene).claim(scene.owner, only=channel.account.hex())
