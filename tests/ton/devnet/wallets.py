"""A W5 wallet in a few lines: its code is tonutils', its messages are packed and signed here."""

import hashlib

from nacl.signing import SigningKey
from pytoniq_core import Address, Cell
from tonutils.contracts import WalletV5R1

from ton.codec.cells import Writer, parse_boc
from ton.codec.messages import TopUp
from ton.codec.storage import (
    ChannelConfig,
    channel_init,
    contract_address,
    state_init,
)
from ton.contracts import payment_channel
from ton.tvm.messages import Internal, external

GRAM = 10**9
RENT = 20_000_000
FOREVER = 2**32 - 1
SIGNED_EXTERNAL = 0x7369676E
SEND = 0x0EC3C86D
PAY_FEES_APART = 3
CODE = parse_boc(WalletV5R1.get_default_code().to_boc())


class Wallet:
    """Asks nobody anything: it counts its own seqno."""

    def __init__(self, name: str = "wallet") -> None:
        self._key = SigningKey(hashlib.sha256(name.encode()).digest())
        key = bytes(self._key.verify_key)
        data = Writer().uint(1, 1).uint(0, 32).uint(0, 32).octets(key, 32).uint(0, 1).cell()
        self.init = state_init(CODE, data)
        self.address = contract_address(self.init)
        self.seqno = 0

    def signed(self, *messages: Internal, valid_until: int = FOREVER) -> Cell:
        """The next external message."""
        actions = Writer().cell()
        for message in messages:
            action = Writer().ref(actions).uint(SEND, 32).uint(PAY_FEES_APART, 8)
            actions = action.ref(message.cell()).cell()
        writer = Writer().uint(SIGNED_EXTERNAL, 32).uint(0, 32).uint(valid_until, 32)
        writer.uint(self.seqno, 32).uint(1, 1).ref(actions).uint(0, 1)
        signature = self._key.sign(writer.cell().hash).signature
        init = None if self.seqno else self.init
        self.seqno += 1
        return external(self.address, writer.octets(signature, 64).cell(), init)

    def transfer(self, to: Address, amount: int, *, bounce: bool = False) -> Cell:
        return self.signed(Internal(self.address, to, amount, bounce=bounce))

    def opening(self, config: ChannelConfig, deposit: int) -> Cell:
        """Deploys a channel with a first deposit."""
        init = channel_init(payment_channel(), config)
        body = TopUp(1, deposit).cell()
        amount = deposit + 2 * RENT
        return self.signed(
            Internal(self.address, contract_address(init), amount, body, init, bounce=True)
        )
