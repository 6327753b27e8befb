"""Orders go out once: through restarts, lost messages, expiry, refusals and bounces."""

import dataclasses
from pathlib import Path

import pytest
from pytoniq_core import Address

from tests.ton.comments import comment
from tests.ton.wallet.fixtures import GRAM, KEY, OWN, SOMEBODY, Flaky
from ton.chain.agreed import AgreedChain
from ton.chain.errors import ForeignContract, NotSeen, ProviderFault
from ton.chain.port import Happened
from ton.codec.cells import raw
from ton.codec.messages import StartClose
from ton.devnet.chain import Devnet
from ton.tvm.accounts import Status
from ton.wallet.errors import OrderFailed, WalletBusy, WalletForeign, WalletShort
from ton.wallet.keys import read_or_create_key
from ton.wallet.outbox import Outbox, State
from ton.wallet.outgoing import Outgoing
from ton.wallet.sqlite_outbox import SqliteOutbox
from ton.wallet.w5 import seqno_of
from ton.wallet.wallet import VALID_S, Wallet, open_wallet


def held(devnet: Devnet, place: Address = SOMEBODY) -> int:
    return devnet.account(raw(place)).balance


def gift(amount: int = GRAM, to: Address = SOMEBODY) -> Outgoing:
    return Outgoing(to, amount, comment("for you"), bounce=False)


async def test_an_order_is_sent_and_its_effect_found(funded: Wallet, devnet: Devnet) -> None:
    await funded.put("one", gift())
    order = await funded.settle("one", seconds=20)
    assert order.state is State.SENT
    assert held(devnet) == GRAM
    effect = await funded.effect(order, seconds=20)
    assert effect.transaction.account == SOMEBODY.hash_part
    assert (await funded.step()).sent == 0


async def test_two_hundred_orders_are_one_message(
    funded: Wallet, devnet: Devnet, flaky: Flaky
) -> None:
    for number in range(200):
        await funded.put(str(number), gift(1_000_000, Address((0, number.to_bytes(32)))))
    order = await funded.settle("199", seconds=20)
    assert len(flaky.given) == 1
    assert {(await funded.get(str(number))).state for number in range(200)} == {State.SENT}  # type: ignore[union-attr]
    assert held(devnet, Address((0, (7).to_bytes(32)))) == 1_000_000
    assert order.transaction


async def test_an_order_that_is_put_again_is_sent_once(funded: Wallet, devnet: Devnet) -> None:
    for _ in range(2):
        await funded.put("one", gift())
        await funded.settle("one", seconds=20)
    await funded.put("one", gift(2 * GRAM))
    await funded.step()
    assert held(devnet) == GRAM


async def test_a_lost_message_is_sent_again_byte_for_byte(
    funded: Wallet, devnet: Devnet, flaky: Flaky
) -> None:
    flaky.loses = True
    await funded.put("one", gift())
    with pytest.raises(NotSeen):
        await funded.settle("one", seconds=0.02)
    assert len(flaky.given) == 1, "not at every step"
    devnet.advance(30)
    flaky.loses = False
    await funded.settle("one", seconds=20)
    assert flaky.given[0].hash == flaky.given[1].hash
    assert held(devnet) == GRAM


async def test_another_message_is_signed_only_once_the_first_expired(
    funded: Wallet, devnet: Devnet, flaky: Flaky
) -> None:
    flaky.loses = True
    await funded.put("one", gift())
    await funded.step()
    await funded.put("two", gift())
    for _ in range(3):
        devnet.advance(VALID_S // 3)
        await funded.step()
    assert len({bytes(one.hash) for one in flaky.given}) == 1
    devnet.advance(1)
    flaky.loses = False
    await funded.settle("one", seconds=20)
    assert (await funded.settle("two", seconds=20)).state is State.SENT
    assert held(devnet) == 2 * GRAM


@pytest.mark.spec("7.11-d")
async def test_a_message_that_was_given_up_and_executed_after_all_pays_once(
    funded: Wallet, devnet: Devnet, flaky: Flaky, outbox: Outbox
) -> None:
    """A provider whose clock is fast makes us give up too early; the seqno is what counts."""
    flaky.loses = True
    await funded.put("one", gift())
    await funded.step()
    (first,) = await outbox.batches()
    await outbox.expire(first)
    await funded.put("two", gift())
    other = funded._batch(await outbox.queued(9), 0, 2**32 - 1)
    assert await outbox.sign(other)
    devnet.send(flaky.given[0])
    flaky.loses = False
    await funded.settle("two", seconds=20)
    assert (await funded.get("one")).state is State.SENT  # type: ignore[union-attr]
    assert held(devnet) == 2 * GRAM


async def test_a_restart_between_signing_and_seeing_pays_once(
    chain: AgreedChain, devnet: Devnet, tmp_path: Path
) -> None:
    key = tmp_path / "wallet.key"
    key.write_text(bytes(KEY._key).hex())
    key.chmod(0o600)
    devnet.give(OWN, 10 * GRAM)
    with open_wallet(chain, key, tmp_path / "box") as wallet:
        await wallet.put("one", gift())
        await wallet.step()  # sent; the process dies before it sees
    assert held(devnet) == GRAM
    with open_wallet(chain, key, tmp_path / "box") as wallet:
        await wallet.put("one", gift())
        order = await wallet.settle("one", seconds=20)
        assert (order.state, held(devnet)) == (State.SENT, GRAM)


async def test_two_processes_do_not_share_an_outbox(chain: AgreedChain, tmp_path: Path) -> None:
    read_or_create_key(tmp_path / "wallet.key")
    with (
        open_wallet(chain, tmp_path / "wallet.key", tmp_path),
        pytest.raises(WalletBusy),
        open_wallet(chain, tmp_path / "wallet.key", tmp_path),
    ):
        pass


async def test_another_holder_of_the_key_costs_a_turn_and_no_money(
    funded: Wallet, chain: AgreedChain, devnet: Devnet, flaky: Flaky
) -> None:
    flaky.loses = True
    await funded.put("one", gift())
    await funded.step()
    flaky.loses = False
    box = SqliteOutbox(None, source=OWN)
    other = Wallet(chain, KEY, box)
    await other.put("other", gift(5))
    await other.settle("other", seconds=20)
    box.close()
    await funded.settle("one", seconds=20)
    assert held(devnet) == GRAM + 5


async def test_an_order_beyond_the_balance_stays_queued_and_says_what_is_missing(
    funded: Wallet, devnet: Devnet
) -> None:
    await funded.put("much", gift(1000 * GRAM))
    with pytest.raises(WalletShort, match=r"lacks \d{12} nano"):
        await funded.settle("much", seconds=20)
    await funded.put("little", gift())
    await funded.settle("little", seconds=20)
    devnet.give(OWN, 1000 * GRAM)
    await funded.settle("much", seconds=20)
    assert held(devnet) == 1001 * GRAM


async def test_an_empty_wallet_sends_nothing(chain: AgreedChain, outbox: SqliteOutbox) -> None:
    wallet = Wallet(chain, KEY, outbox, poll=0.01)
    await wallet.put("one", gift())
    with pytest.raises(WalletShort):
        await wallet.settle("one", seconds=20)


async def test_what_the_wallet_could_not_send_is_noticed(
    funded: Wallet, devnet: Devnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other payments of the message went out: W5 leaves out what fails."""
    monkeypatch.setattr("ton.wallet.wallet.FEE", 0)
    monkeypatch.setattr("ton.wallet.wallet.KEPT", 0)
    await funded.put("first", gift())
    await funded.put("too much", gift(98 * GRAM))
    await funded.put("last", gift(GRAM))
    with pytest.raises(OrderFailed, match="last was skipped"):
        await funded.settle("last", seconds=20)
    states = [(await funded.get(name)).state for name in ("first", "too much")]  # type: ignore[union-attr]
    assert states == [State.SENT, State.SENT]
    assert held(devnet) == 99 * GRAM


async def test_a_bounce_is_noticed(funded: Wallet, devnet: Devnet) -> None:
    empty = Address((0, b"\x77" * 32))
    await funded.put("good", gift(to=empty))
    await funded.settle("good", seconds=20)
    await funded.put("refused", Outgoing(Address((0, b"\x78" * 32)), GRAM, StartClose(5).cell()))
    await funded.put(
        "other", Outgoing(Address((0, b"\x78" * 32)), GRAM, StartClose(6).cell(), bounce=False)
    )
    await funded.step()
    await funded.step()
    assert (await funded.get("refused")).state is State.BOUNCED  # type: ignore[union-attr]
    assert (await funded.get("other")).state is State.SENT  # type: ignore[union-attr]
    with pytest.raises(OrderFailed, match="refused was bounced"):
        await funded.settle("refused", seconds=20)


async def test_history_before_the_outbox_is_no_matter_of_ours(
    chain: AgreedChain, devnet: Devnet
) -> None:
    devnet.give(OWN, 10 * GRAM)
    for number in range(3):
        box = SqliteOutbox(None, source=OWN)
        wallet = Wallet(chain, KEY, box, poll=0.01)
        await wallet.put("same id", gift(number + 1))
        await wallet.settle("same id", seconds=20)
        box.close()
    assert held(devnet) == 6


async def test_what_does_not_fit_one_message_goes_in_several(
    funded: Wallet, flaky: Flaky, devnet: Devnet
) -> None:
    for number in range(120):
        text = f"{number:04d}" * 200
        await funded.put(str(number), Outgoing(SOMEBODY, 1_000_000, comment(text), bounce=False))
    await funded.settle("119", seconds=20)
    assert len({bytes(one.hash) for one in flaky.given}) == 2
    assert held(devnet) == 120_000_000


async def test_an_order_that_did_not_leave_has_no_effect(funded: Wallet) -> None:
    order = await funded.put("one", gift())
    with pytest.raises(OrderFailed, match="one was queued"):
        await funded.effect(order, seconds=1)
    sent = await funded.settle("one", seconds=20)
    with pytest.raises(NotSeen, match="no effect of one"):
        await funded.effect(dataclasses.replace(sent, message=bytes(32)), seconds=0.02)


async def test_a_network_that_takes_nothing_is_waited_for(
    funded: Wallet, flaky: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dead(message: object) -> None:
        raise ProviderFault("flaky", "cannot be asked")

    with monkeypatch.context() as broken:
        broken.setattr(flaky, "send", dead)
        await funded.put("one", gift())
        with pytest.raises(NotSeen):
            await funded.settle("one", seconds=0.02)
    funded._sent = b"", 0  # as after a restart
    await funded.settle("one", seconds=20)


async def test_strangers_stop_the_wallet_until_a_person_has_looked(
    chain: AgreedChain, devnet: Devnet, outbox: SqliteOutbox
) -> None:
    def refuse(happened: Happened) -> None:
        raise WalletForeign("who was that?")

    devnet.give(OWN, 10 * GRAM)
    careful = Wallet(chain, KEY, outbox, poll=0.01, on_stranger=refuse)
    await careful.step()
    elsewhere = SqliteOutbox(None, source=OWN)
    other = Wallet(chain, KEY, elsewhere, poll=0.01)
    await other.put("other", gift(5))
    await other.settle("other", seconds=20)
    elsewhere.close()
    await careful.put("one", gift())
    for _ in range(2):
        with pytest.raises(WalletForeign):
            await careful.step()
    assert await careful.accept_strangers() == []
    await careful.settle("one", seconds=20)
    assert held(devnet) == GRAM + 5


async def test_another_contract_at_the_address_is_no_wallet(chain: AgreedChain) -> None:
    state = await chain.account(SOMEBODY)
    other = dataclasses.replace(state, status=Status.FROZEN)
    with pytest.raises(ForeignContract):
        seqno_of(other)
