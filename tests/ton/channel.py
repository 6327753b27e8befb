"""One channel on a chain of one account: keys, parties, and messages delivered by a real TVM."""

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache

from nacl.signing import SigningKey
from pytoniq_core import Address, Cell

from ton.codec.messages import Claim, CoopClose, GatewayClose
from ton.codec.signed import CloseTerms, Voucher
from ton.codec.storage import (
    ChannelConfig,
    ChannelState,
    channel_init,
    contract_address,
    first_state,
)
from ton.tvm.accounts import ABSENT, Account
from ton.tvm.machine import Tvm
from ton.tvm.messages import Internal
from ton.tvm.network import MAINNET, Prices, prices_of
from ton.tvm.transactions import Transaction

GRAM = 10**9
DAY = 86_400
BEGIN = 1_790_000_000
LT_STEP = 1_000_000


def secret(name: str) -> SigningKey:
    return SigningKey(hashlib.sha256(name.encode()).digest())


def wallet(name: str) -> Address:
    return Address((0, hashlib.sha256(b"wallet " + name.encode()).digest()))


CLIENT_KEY, GATEWAY_KEY, OTHER_KEY = secret("client"), secret("gateway"), secret("other")
CLIENT, GATEWAY, STRANGER = wallet("client"), wallet("gateway"), wallet("stranger")


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message, what it did, and the account before and after it."""

    message: Internal
    transaction: Transaction
    before: Account
    after: Account
    sent: list[Internal]

    @property
    def exit_code(self) -> int:
        return self.transaction.exit_code


@lru_cache(64)
def _account(shard_account: bytes) -> Account:
    return Account.read(shard_account)


@lru_cache(64)
def _state(shard_account: bytes) -> ChannelState:
    data = _account(shard_account).data
    assert data is not None
    return ChannelState.read(data)


@dataclass(slots=True)
class Channel:
    """A channel's account, with a clock that tests turn."""

    tvm: Tvm
    code: Cell
    period: int = DAY
    salt: int = 7
    now: int = BEGIN
    lt: int = 10_000_000
    shard_account: bytes = ABSENT
    config: ChannelConfig = field(init=False)
    init: Cell = field(init=False)
    address: Address = field(init=False)
    prices: Prices = field(init=False)

    def __post_init__(self) -> None:
        self.config = ChannelConfig(
            client=CLIENT,
            gateway=GATEWAY,
            client_key=bytes(CLIENT_KEY.verify_key),
            gateway_key=bytes(GATEWAY_KEY.verify_key),
            challenge_period=self.period,
            salt=self.salt,
        )
        self.init = channel_init(self.code, self.config)
        self.address = contract_address(self.init)
        self.prices = prices_of(self.tvm.config)

    @property
    def first_state(self) -> Cell:
        return first_state(self.config)

    @property
    def account(self) -> Account:
        return _account(self.shard_account)

    @property
    def state(self) -> ChannelState:
        return _state(self.shard_account)

    def send(
        self,
        source: Address,
        value: int,
        body: Cell | None,
        *,
        init: Cell | None = None,
        bounce: bool = True,
    ) -> Delivery:
        self.lt += LT_STEP
        message = Internal(source, self.address, value, body, init, bounce, created_at=self.now)
        before = self.account
        done = self.tvm.run(message.cell().to_boc(), self.shard_account, now=self.now, lt=self.lt)
        self.shard_account = done.shard_account
        transaction = Transaction.read(done.transaction)
        sent = [Internal.read(cell) for cell in transaction.out_messages]
        return Delivery(message, transaction, before, self.account, sent)

    def voucher(
        self, amount: int, *, key: SigningKey = CLIENT_KEY, seqno: int = 0, valid_until: int = 0
    ) -> tuple[Voucher, bytes]:
        voucher = Voucher(MAINNET, self.address, amount, seqno, valid_until)
        return voucher, key.sign(voucher.cell().hash).signature

    def claim(self, amount: int, ceiling: int | None = None) -> Cell:
        voucher, signature = self.voucher(amount if ceiling is None else ceiling)
        return Claim(1, amount, signature, voucher).cell()

    def gateway_close(self, amount: int, ceiling: int | None = None) -> Cell:
        voucher, signature = self.voucher(amount if ceiling is None else ceiling)
        return GatewayClose(1, amount, signature, voucher).cell()

    def coop_close(self, amount: int, *, valid_for: int = 600) -> Cell:
        terms = CloseTerms(MAINNET, self.address, amount, self.now + valid_for)
        signed = terms.cell().hash
        return CoopClose(
            1, CLIENT_KEY.sign(signed).signature, terms, GATEWAY_KEY.sign(signed).signature
        ).cell()
