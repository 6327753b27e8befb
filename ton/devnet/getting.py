"""Get methods of accounts, for both versions of the API."""

from dataclasses import dataclass
from typing import Any

from ton.codec.cells import raw
from ton.devnet.arguments import Arguments
from ton.devnet.chain import Devnet
from ton.devnet.errors import BadArgument, NotExecuted
from ton.devnet.stack import parse_stack, read_stack
from ton.errors import EmulatorFailed
from ton.tvm.accounts import Account, Status
from ton.tvm.getters import method_id
from ton.tvm.machine import Call

NO_CONTRACT = -13
"""The exit code that liteservers give where there is no code to run."""
MAX_NAME = 128


@dataclass(frozen=True, slots=True)
class Got:
    """How a get method ended, and the account it ran on."""

    account: Account
    exit_code: int
    gas_used: int
    values: list[Any]


def run_get_method(devnet: Devnet, arguments: Arguments) -> Got:
    """Run `method` (a name or a number) of `address` on `stack`; raises `Refusal`."""
    address, method = arguments.address(), _method(arguments.any("method"))
    stack = parse_stack(arguments.any("stack") if arguments.has("stack") else [])
    account = devnet.account(raw(address))
    if account.status is not Status.ACTIVE or account.code is None or account.data is None:
        return Got(account, NO_CONTRACT, 0, [])
    try:
        answer = devnet.tvm.get(
            Call(
                code=account.code.to_boc(),
                data=account.data.to_boc(),
                method=method,
                stack=stack,
                address=raw(address),
                balance=account.balance,
                now=devnet.now(),
            )
        )
    except EmulatorFailed as cause:
        raise NotExecuted(f"LITE_SERVER_UNKNOWN: {cause.message}") from cause
    return Got(account, answer.exit_code, answer.gas_used, read_stack(answer.stack))


def _method(given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, int | str):
        raise BadArgument("method: must be a name or a number")
    if isinstance(given, str):
        if len(given) > MAX_NAME:
            raise BadArgument("method: the name is too long")
        return method_id(given)
    if not -(2**31) <= given < 2**31:
        raise BadArgument("method: must fit 32 bits")
    return given
