"""toncenter's API v2: each method by its name, from arguments to `result`.

The same functions answer GET, POST and `jsonRPC`. Shapes are those of toncenter.com, as far as
clients read them; `@type` names are tonlib's.
"""

from collections.abc import Callable
from typing import Any, Final

from pytoniq_core import Address, Cell

from ton.codec.cells import raw, read_dict
from ton.devnet.arguments import MAX_LIMIT, Arguments
from ton.devnet.bocs import decode_boc, encode_boc
from ton.devnet.chain import Devnet
from ton.devnet.errors import BadArgument, NoSuchThing
from ton.devnet.fees import estimate
from ton.devnet.getting import run_get_method
from ton.devnet.heads import Head
from ton.devnet.log import Query
from ton.devnet.phases import Detail, b64, detail
from ton.devnet.stack import show_v2
from ton.devnet.wallets import wallet_of
from ton.tvm.accounts import Account, Status

SHARD: Final = str(-(2**63))
_COMMENT: Final = 0
"""The op of a body that is text for people."""
_STATES: Final = {
    Status.ABSENT: "uninitialized",
    Status.UNINITIALIZED: "uninitialized",
    Status.ACTIVE: "active",
    Status.FROZEN: "frozen",
}


def block_id(devnet: Devnet, seqno: int | None = None) -> dict[str, Any]:
    """A masterchain block's id; hashes are made up, since nobody here signs blocks."""
    number = devnet.log.head().seqno if seqno is None else seqno
    name = b64(number.to_bytes(32, "big"))
    return {
        "@type": "ton.blockIdExt",
        "workchain": -1,
        "shard": SHARD,
        "seqno": number,
        "root_hash": name,
        "file_hash": name,
    }


def _transaction_id(lt: int, hash_: bytes) -> dict[str, Any]:
    return {"@type": "internal.transactionId", "lt": str(lt), "hash": b64(hash_)}


def _cell(cell: Cell | None) -> str:
    return "" if cell is None else encode_boc(cell)


def _find(devnet: Devnet, arguments: Arguments) -> tuple[Address, Account]:
    address = arguments.address()
    return address, devnet.account(raw(address))


def get_address_information(devnet: Devnet, arguments: Arguments) -> dict[str, Any]:
    """Balance, state, code and data."""
    _, account = _find(devnet, arguments)
    return {
        "@type": "raw.fullAccountState",
        "balance": str(account.balance),
        "extra_currencies": [],
        "code": _cell(account.code),
        "data": _cell(account.data),
        "last_transaction_id": _transaction_id(account.last_lt, account.last_hash),
        "block_id": block_id(devnet),
        "frozen_hash": "",
        "sync_utime": devnet.now(),
        "state": _STATES[account.status],
    }


def get_extended_address_information(devnet: Devnet, arguments: Arguments) -> dict[str, Any]:
    """The same in tonlib's own form."""
    address, account = _find(devnet, arguments)
    state: dict[str, Any] = {"@type": "uninited.accountState", "frozen_hash": ""}
    if account.status is Status.ACTIVE:
        state = {
            "@type": "raw.accountState",
            "code": _cell(account.code),
            "data": _cell(account.data),
            "frozen_hash": "",
        }
    return {
        "@type": "fullAccountState",
        "address": {"@type": "accountAddress", "account_address": address.to_str()},
        "balance": str(account.balance),
        "extra_currencies": [],
        "last_transaction_id": _transaction_id(account.last_lt, account.last_hash),
        "block_id": block_id(devnet),
        "sync_utime": devnet.now(),
        "account_state": state,
        "revision": 0,
    }


def get_wallet_information(devnet: Devnet, arguments: Arguments) -> dict[str, Any]:
    """Whether it is a known wallet, and its seqno."""
    _, account = _find(devnet, arguments)
    wallet = wallet_of(account)
    shown: dict[str, Any] = {
        "wallet": wallet is not None,
        "balance": str(account.balance),
        "extra_currencies": [],
        "account_state": _STATES[account.status],
        "last_transaction_id": _transaction_id(account.last_lt, account.last_hash),
    }
    if wallet is not None:
        shown |= {
            "wallet_type": wallet.kind,
            "seqno": wallet.seqno,
            "wallet_id": wallet.wallet_id,
        }
    return shown


def get_address_balance(devnet: Devnet, arguments: Arguments) -> str:
    """Nano, as a string."""
    return str(_find(devnet, arguments)[1].balance)


def get_address_state(devnet: Devnet, arguments: Arguments) -> str:
    """`uninitialized`, `active` or `frozen`."""
    return _STATES[_find(devnet, arguments)[1].status]


def get_transactions(devnet: Devnet, arguments: Arguments) -> list[dict[str, Any]]:
    """The newest first; `lt` and `hash` name the first to show, `to_lt` the last not to."""
    place = raw(arguments.address())
    limit = arguments.number("limit", 10, low=1, high=MAX_LIMIT)
    where: list[str] = ["account = ?"]
    values: list[Any] = [place]
    if arguments.has("to_lt"):
        where.append("lt > ?")
        values.append(arguments.number("to_lt"))
    if arguments.has("lt"):
        first = arguments.number("lt")
        _check_first(devnet, arguments, place, first)
        where.append("lt <= ?")
        values.append(first)
    found = devnet.log.find(Query(tuple(where), tuple(values), limit=limit))
    return [_show(detail(entry)) for entry in found]


def _check_first(devnet: Devnet, arguments: Arguments, place: str, lt: int) -> None:
    """A place in the history that is not there is an error, not the end of the history."""
    if not arguments.has("hash"):
        raise BadArgument("hash: lt and hash belong together")
    hash_ = arguments.hash("hash")
    at = Query(("account = ?", "lt = ?", "hash = ?"), (place, lt, hash_), limit=1)
    if not devnet.log.find(at):
        raise NoSuchThing("LITE_SERVER_UNKNOWN: cannot locate transaction in block with this lt")


def _show(one: Detail) -> dict[str, Any]:
    facts = one.facts
    return {
        "@type": "raw.transaction",
        "address": {
            "@type": "accountAddress",
            "account_address": _friendly(one.entry.account),
        },
        "utime": one.entry.utime,
        "data": b64(one.entry.boc),
        "transaction_id": _transaction_id(one.entry.lt, one.entry.hash),
        "fee": str(facts.total_fees),
        "storage_fee": str(facts.storage_fee),
        "other_fee": str(facts.total_fees - facts.storage_fee),
        "in_msg": _message(one.incoming),
        "out_msgs": [_message(head) for head in one.outgoing],
    }


def _friendly(place: str | None) -> str:
    return "" if place is None else str(Address(place).to_str())


def _message(head: Head) -> dict[str, Any]:
    data, text = _content(head)
    return {
        "@type": "raw.message",
        "hash": b64(head.hash),
        "source": _friendly(head.source),
        "destination": _friendly(head.destination),
        "value": str(head.value or 0),
        "extra_currencies": [],
        "fwd_fee": str(head.forward_fee),
        "ihr_fee": "0",
        "created_lt": str(head.created_lt),
        "body_hash": b64(head.body.hash),
        "msg_data": data,
        "message": text,
    }


def _content(head: Head) -> tuple[dict[str, Any], str]:
    if head.op == _COMMENT and not head.body.refs:
        body = head.body.begin_parse()
        body.load_uint(32)
        if not body.remaining_bits % 8:
            text = bytes(body.load_bytes(body.remaining_bits // 8))
            shown = text.decode("utf-8", errors="replace")
            return {"@type": "msg.dataText", "text": b64(text)}, shown
    init = _cell(head.init)
    return {"@type": "msg.dataRaw", "body": encode_boc(head.body), "init_state": init}, ""


def get_masterchain_info(devnet: Devnet, _: Arguments) -> dict[str, Any]:
    """The newest block, and the first."""
    return {
        "@type": "blocks.masterchainInfo",
        "last": block_id(devnet),
        "state_root_hash": b64(bytes(32)),
        "init": block_id(devnet, 0),
    }


def get_consensus_block(devnet: Devnet, _: Arguments) -> dict[str, Any]:
    """The newest block's number, and when that was seen."""
    return {"consensus_block": devnet.log.head().seqno, "timestamp": float(devnet.now())}


def get_config_all(devnet: Devnet, _: Arguments) -> dict[str, Any]:
    """The whole network configuration."""
    return {
        "@type": "configInfo",
        "config": {"@type": "tvm.cell", "bytes": b64(devnet.tvm.config)},
    }


def get_config_param(devnet: Devnet, arguments: Arguments) -> dict[str, Any]:
    """One parameter of it, by `config_id` or `param`."""
    name = "config_id" if arguments.has("config_id") else "param"
    number = arguments.number(name, low=-(2**31), high=2**31 - 1)
    parameters = read_dict(decode_boc(b64(devnet.tvm.config)), 32)
    found = parameters.get(number & 0xFFFFFFFF)
    if found is None:
        raise NoSuchThing(f"there is no configuration parameter {number}")
    inner = found.begin_parse().load_ref()
    return {
        "@type": "configInfo",
        "config": {"@type": "tvm.cell", "bytes": encode_boc(inner)},
    }


def send_boc(devnet: Devnet, arguments: Arguments) -> dict[str, Any]:
    """Take an external message; its effects are there when this answers."""
    devnet.send(arguments.boc())
    return {"@type": "ok"}


def send_boc_return_hash(devnet: Devnet, arguments: Arguments) -> dict[str, Any]:
    """The same, with the message's hashes."""
    sent = devnet.send(arguments.boc())
    return {
        "@type": "raw.extMessageInfo",
        "hash": b64(sent.hash),
        "hash_norm": b64(sent.norm),
    }


def estimate_fee(devnet: Devnet, arguments: Arguments) -> dict[str, Any]:
    """What an external message would cost its account, in nano."""
    fees = {"@type": "fees", **estimate(devnet, arguments)}
    return {"@type": "query.fees", "source_fees": fees, "destination_fees": []}


def run_get_method_v2(devnet: Devnet, arguments: Arguments) -> dict[str, Any]:
    """A get method's exit code and stack."""
    got = run_get_method(devnet, arguments)
    last = _transaction_id(got.account.last_lt, got.account.last_hash)
    return {
        "@type": "smc.runResult",
        "gas_used": got.gas_used,
        "stack": [show_v2(value) for value in got.values],
        "exit_code": got.exit_code,
        "block_id": block_id(devnet),
        "last_transaction_id": last,
    }


def pack_address(_: Devnet, arguments: Arguments) -> str:
    """The user-friendly form."""
    return str(arguments.address().to_str())


def unpack_address(_: Devnet, arguments: Arguments) -> str:
    """`workchain:hex`."""
    return raw(arguments.address())


def detect_address(_: Devnet, arguments: Arguments) -> dict[str, Any]:
    """Every form of an address."""
    address = arguments.address()

    def forms(*, bounceable: bool) -> dict[str, str]:
        plain = address.to_str(is_url_safe=False, is_bounceable=bounceable)
        return {"b64": plain, "b64url": address.to_str(is_bounceable=bounceable)}

    return {
        "raw_form": raw(address),
        "bounceable": forms(bounceable=True),
        "non_bounceable": forms(bounceable=False),
        "given_type": "raw_form" if ":" in arguments.text("address") else "friendly_bounceable",
        "test_only": False,
    }


def try_locate_tx(devnet: Devnet, arguments: Arguments) -> dict[str, Any]:
    """The transaction that a message between accounts caused."""
    source, destination = (raw(arguments.address(name)) for name in ("source", "destination"))
    lt = arguments.number("created_lt")
    at = Query(("source = ?", "destination = ?", "lt = ?"), (source, destination, lt), limit=1)
    for message in devnet.log.find_messages(at):
        for entry in devnet.log.find(Query(("hash = ?",), (message.received_by,), limit=1)):
            return _show(detail(entry))
    raise NoSuchThing("transaction was not found")


Method = Callable[[Devnet, Arguments], Any]

METHODS: Final[dict[str, Method]] = {
    "getAddressInformation": get_address_information,
    "getExtendedAddressInformation": get_extended_address_information,
    "getWalletInformation": get_wallet_information,
    "getAddressBalance": get_address_balance,
    "getAddressState": get_address_state,
    "getTransactions": get_transactions,
    "getMasterchainInfo": get_masterchain_info,
    "getConsensusBlock": get_consensus_block,
    "getConfigAll": get_config_all,
    "getConfigParam": get_config_param,
    "sendBoc": send_boc,
    "sendBocReturnHash": send_boc_return_hash,
    "estimateFee": estimate_fee,
    "runGetMethod": run_get_method_v2,
    "packAddress": pack_address,
    "unpackAddress": unpack_address,
    "detectAddress": detect_address,
    "tryLocateTx": try_locate_tx,
    "tryLocateResultTx": try_locate_tx,
}


def call(devnet: Devnet, name: str, arguments: Arguments) -> Any:
    """The result of one method; raises `Refusal`."""
    method = METHODS.get(name)
    if method is None:
        raise NoSuchThing(f"there is no method {name[:60]!r}")
    return method(devnet, arguments)
