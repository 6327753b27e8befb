"""What is left out of mainnet's configuration changes no price and no rule of execution."""

from ton.codec.cells import parse_boc, read_dict
from ton.devnet.configuration import SUSPENDED, VALIDATORS, without
from ton.tvm.emulator import Emulator
from ton.tvm.network import prices_of


def test_only_validators_and_suspended_addresses_are_missing(
    tvm: Emulator, devnet_tvm: Emulator
) -> None:
    whole, ours = (read_dict(parse_boc(one.config), 32) for one in (tvm, devnet_tvm))
    assert set(whole) - set(ours) <= VALIDATORS | SUSPENDED
    changed = {key for key, value in ours.items() if whole[key].hash != value.hash}
    assert changed == {19}  # the network's id
    assert prices_of(devnet_tvm.config) == prices_of(tvm.config)
    assert without(devnet_tvm.config, frozenset()) == devnet_tvm.config
