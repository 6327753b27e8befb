"""A channel's state and its address (SPEC 7.1).

The address is the hash of code and first state, so it commits to code, parties, keys, period and
salt: whoever recomputes it needs no chain to know what the contract at that address does.
"""

from dataclasses import dataclass
from typing import Self

from pytoniq_core import Address, Cell

from ton.codec.cells import BASECHAIN, Reader, Writer
from ton.codec.constants import CLOSED, MAX_CHALLENGE, MIN_CHALLENGE, OPEN

KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class ChannelConfig:
    """What never changes. Keys are Ed25519 public keys, the period is in seconds."""

    client: Address
    gateway: Address
    client_key: bytes
    gateway_key: bytes
    challenge_period: int
    salt: int

    def cell(self) -> Cell:
        """Its part of the state; raises `MalformedCell` for what does not fit."""
        keys = Writer().octets(self.client_key, KEY_BYTES).octets(self.gateway_key, KEY_BYTES)
        writer = Writer().address(self.client).address(self.gateway).ref(keys.cell())
        return writer.uint(self.challenge_period, 32).uint(self.salt, 64).cell()

    @classmethod
    def read(cls, cell: Cell) -> Self:
        """The one configuration with this encoding; raises `MalformedCell`."""
        reader = Reader(cell)
        client, gateway, keys = reader.address(), reader.address(), reader.into()
        config = cls(
            client=client,
            gateway=gateway,
            client_key=keys.octets(KEY_BYTES),
            gateway_key=keys.octets(KEY_BYTES),
            challenge_period=reader.uint(32),
            salt=reader.uint(64),
        )
        keys.end()
        reader.end()
        return config

    @property
    def challenge_seconds(self) -> int:
        """How long claims are good after a StartClose: the contract keeps to its own bounds."""
        return min(max(self.challenge_period, MIN_CHALLENGE), MAX_CHALLENGE)


@dataclass(frozen=True, slots=True)
class ChannelState:
    """A channel's data: totals in nano, and `close_at` (0 open, 2^32 - 1 closed, else a time)."""

    deposited: int
    claimed: int
    close_at: int
    config: ChannelConfig

    def cell(self) -> Cell:
        """The contract's data; raises `MalformedCell` for what does not fit."""
        writer = Writer().coins(self.deposited).coins(self.claimed).uint(self.close_at, 32)
        return writer.ref(self.config.cell()).cell()

    @classmethod
    def read(cls, cell: Cell) -> Self:
        """The one state with this encoding; raises `MalformedCell`."""
        reader = Reader(cell)
        state = cls(
            deposited=reader.coins(),
            claimed=reader.coins(),
            close_at=reader.uint(32),
            config=ChannelConfig.read(reader.ref()),
        )
        reader.end()
        return state

    @property
    def is_open(self) -> bool:
        """Whether the channel takes top-ups and nobody has asked to close it."""
        return self.close_at == OPEN

    @property
    def is_closed(self) -> bool:
        """Whether the channel is a tombstone."""
        return self.close_at == CLOSED

    @property
    def held(self) -> int:
        """What neither side has been paid yet, in nano."""
        return 0 if self.is_closed else self.deposited - self.claimed


def first_state(config: ChannelConfig) -> Cell:
    """The data that a channel is deployed with."""
    return ChannelState(deposited=0, claimed=0, close_at=OPEN, config=config).cell()


def state_init(code: Cell, data: Cell) -> Cell:
    """StateInit without libraries or special flags: `split_depth` and `special` absent."""
    return Writer().uint(0b00110, 5).ref(code).ref(data).cell()


def contract_address(init: Cell) -> Address:
    """Where a contract with this StateInit lives, in the basechain."""
    return Address((BASECHAIN, init.hash))


def channel_init(code: Cell, config: ChannelConfig) -> Cell:
    """The StateInit that the first top-up carries."""
    return state_init(code, first_state(config))


def channel_address(code: Cell, config: ChannelConfig) -> Address:
    """The channel's address, from nothing that anybody said."""
    return contract_address(channel_init(code, config))
