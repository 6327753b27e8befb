"""toncenter's API v3: each path by its name, from arguments to the whole answer."""

from collections.abc import Callable
from typing import Any, Final

from ton.codec.cells import parse_boc, raw
from ton.devnet import v3_shapes as shapes
from ton.devnet.arguments import Arguments
from ton.devnet.chain import Devnet
from ton.devnet.errors import BadArgument, NoSuchThing
from ton.devnet.fees import estimate
from ton.devnet.getting import run_get_method
from ton.devnet.heads import read_head
from ton.devnet.log import Entry, Query
from ton.devnet.phases import b64, detail
from ton.devnet.stack import show_v3
from ton.devnet.wallets import wallet_of

_WHOLE: Final = 10_000
"""More rows than one trace or block has transactions."""


class _Search:
    """A WHERE clause that grows with the arguments that were given."""

    def __init__(self, arguments: Arguments) -> None:
        self.arguments = arguments
        self.where: list[str] = []
        self.values: list[Any] = []

    def equals(self, column: str, value: Any) -> None:
        """One column has one value."""
        self.where.append(f"{column} = ?")
        self.values.append(value)

    def among(self, column: str, values: list[str]) -> None:
        """One column has one of these values."""
        self.where.append(f"{column} IN ({','.join('?' * len(values))})")
        self.values += values

    def range(self, column: str, start: str, end: str) -> None:
        """One column between two arguments, where they are given."""
        for name, operator in ((start, ">="), (end, "<=")):
            if self.arguments.has(name):
                self.where.append(f"{column} {operator} ?")
                self.values.append(self.arguments.number(name))

    def query(self, *, order: str = "lt") -> Query:
        """The query, in the window and direction that were asked for."""
        limit, offset = self.arguments.window()
        sort = self.arguments.text("sort", "desc")
        if sort not in {"asc", "desc"}:
            raise BadArgument("sort: must be asc or desc")
        return Query(
            tuple(self.where), tuple(self.values), f"{order} {sort.upper()}", limit, offset
        )


def account_states(devnet: Devnet, arguments: Arguments) -> dict[str, Any]:
    """`GET accountStates`: several accounts at once; absent ones are left out, as at toncenter."""
    with_boc = arguments.flag("include_boc", default=True)
    places = _places(arguments)
    found = [(one, devnet.account(one)) for one in places if devnet.log.state(one)]
    return {
        "accounts": [shapes.account_state(*one, with_boc=with_boc) for one in found],
        "address_book": shapes.address_book(places),
        "metadata": {},
    }


def _places(arguments: Arguments) -> list[str]:
    places = arguments.places("address")
    if not places:
        raise BadArgument("address: field required")
    return places


def address_information(devnet: Devnet, arguments: Arguments) -> dict[str, Any]:
    """`GET addressInformation`: one account."""
    account = devnet.account(raw(arguments.address()))
    shown = shapes.account_state("", account, with_boc=True)
    return {
        "balance": shown["balance"],
        "code": shown["code_boc"],
        "data": shown["data_boc"],
        "frozen_hash": None,
        "last_transaction_hash": shown["last_transaction_hash"],
        "last_transaction_lt": shown["last_transaction_lt"],
        "status": shown["status"],
    }


def wallet_states(devnet: Devnet, arguments: Arguments) -> dict[str, Any]:
    """`GET walletStates`: accounts, with what is known of those that are wallets."""
    places = _places(arguments)
    return {
        "wallets": [_wallet(devnet, one) for one in places if devnet.log.state(one)],
        "address_book": shapes.address_book(places),
        "metadata": {},
    }


def _wallet(devnet: Devnet, address: str) -> dict[str, Any]:
    account = devnet.account(address)
    wallet = wallet_of(account)
    state = shapes.account_state(address, account, with_boc=False)
    shown: dict[str, Any] = {
        "address": state["address"],
        "balance": state["balance"],
        "status": state["status"],
        "code_hash": state["code_hash"],
        "last_transaction_hash": state["last_transaction_hash"],
        "last_transaction_lt": state["last_transaction_lt"],
        "extra_currencies": {},
        "is_wallet": wallet is not None,
    }
    if wallet is not None:
        shown |= {
            "wallet_type": wallet.kind,
            "seqno": wallet.seqno,
            "wallet_id": wallet.wallet_id,
            "is_signature_allowed": wallet.is_signature_allowed,
        }
    return shown


def wallet_information(devnet: Devnet, arguments: Arguments) -> dict[str, Any]:
    """`GET walletInformation`: one wallet, in v2's words."""
    shown = _wallet(devnet, raw(arguments.address()))
    return {
        "balance": shown["balance"],
        "wallet_type": shown.get("wallet_type"),
        "seqno": shown.get("seqno"),
        "wallet_id": shown.get("wallet_id"),
        "last_transaction_hash": shown["last_transaction_hash"],
        "last_transaction_lt": shown["last_transaction_lt"],
        "status": shown["status"],
    }


def transactions(devnet: Devnet, arguments: Arguments) -> dict[str, Any]:
    """`GET transactions`: by account, hash, lt, time or block."""
    search = _Search(arguments)
    if arguments.has("account"):
        search.among("account", arguments.places("account"))
    if arguments.has("exclude_account"):
        excluded = arguments.places("exclude_account")
        search.where.append(f"account NOT IN ({','.join('?' * len(excluded))})")
        search.values += excluded
    if arguments.has("hash"):
        search.equals("hash", arguments.hash("hash"))
    for name, column in (("lt", "lt"), ("seqno", "block"), ("mc_seqno", "block")):
        if arguments.has(name):
            search.equals(column, arguments.number(name))
    if arguments.has("workchain"):
        search.where.append("account LIKE ?")
        search.values.append(f"{arguments.number('workchain', low=-1, high=0)}:%")
    search.range("utime", "start_utime", "end_utime")
    search.range("lt", "start_lt", "end_lt")
    return _shown(devnet.log.find(search.query()))


def transactions_by_block(devnet: Devnet, arguments: Arguments) -> dict[str, Any]:
    """`GET transactionsByMasterchainBlock`."""
    search = _Search(arguments)
    search.equals("block", arguments.number("seqno"))
    return _shown(devnet.log.find(search.query()))


def transactions_by_message(devnet: Devnet, arguments: Arguments) -> dict[str, Any]:
    """`GET transactionsByMessage`: who sent and who received a message; either hash finds it."""
    search = _Search(arguments)
    hash_ = arguments.hash("msg_hash")
    search.where.append("(hash = ? OR norm = ?)")
    search.values += [hash_, hash_]
    if arguments.has("opcode"):
        search.equals("op", _opcode(arguments))
    direction = arguments.text("direction", "both")
    if direction not in {"in", "out", "both"}:
        raise BadArgument("direction: must be in or out")
    hashes: list[bytes | None] = []
    for message in devnet.log.find_messages(search.query()):
        hashes += [message.received_by] if direction in {"in", "both"} else []
        hashes += [message.sent_by] if direction in {"out", "both"} else []
    found = [devnet.log.find(Query(("hash = ?",), (one,))) for one in hashes if one is not None]
    return _shown([entry for entries in found for entry in entries])


def adjacent_transactions(devnet: Devnet, arguments: Arguments) -> dict[str, Any]:
    """`GET adjacentTransactions`: those that caused one, and that it caused."""
    hash_ = arguments.hash("hash")
    entries = devnet.log.find(Query(("hash = ?",), (hash_,)))
    if not entries:
        raise NoSuchThing("transaction not found")
    entry = entries[0]
    direction = arguments.text("direction", "both")
    found: list[Entry] = []
    if direction in {"in", "both"} and entry.parent is not None:
        found += devnet.log.find(Query(("hash = ?",), (entry.parent,)))
    if direction in {"out", "both"}:
        found += devnet.log.find(
            Query(("trace = ?", "parent = ?"), (entry.trace, hash_), "lt ASC", _WHOLE)
        )
    return _shown(found)


def _shown(entries: list[Entry]) -> dict[str, Any]:
    return {
        "transactions": [shapes.transaction(detail(entry)) for entry in entries],
        "address_book": shapes.address_book(entry.account for entry in entries),
    }


def messages(devnet: Devnet, arguments: Arguments) -> dict[str, Any]:
    """`GET messages`: by hash, addresses, op, time; `null` as an address is the world outside."""
    search = _Search(arguments)
    if arguments.has("msg_hash"):
        hash_ = arguments.hash("msg_hash")
        search.where.append("(hash = ? OR norm = ?)")
        search.values += [hash_, hash_]
    for name in ("source", "destination"):
        if arguments.text(name, "") == "null":
            search.where.append(f"{name} IS NULL")
        elif arguments.has(name):
            search.among(name, arguments.places(name))
    if arguments.has("opcode"):
        search.equals("op", _opcode(arguments))
    if arguments.flag("only_externals", default=False):
        search.where.append("source IS NULL")
    if arguments.flag("exclude_externals", default=False):
        search.where.append("source IS NOT NULL")
    search.range("lt", "start_lt", "end_lt")
    found = devnet.log.find_messages(search.query())
    return {
        "messages": [
            shapes.message(
                read_head(parse_boc(one.boc)), sent_by=one.sent_by, got_by=one.received_by
            )
            for one in found
        ],
        "address_book": shapes.address_book(shapes.posted_places(found)),
        "metadata": {},
    }


def _opcode(arguments: Arguments) -> int:
    text = arguments.text("opcode")
    try:
        op = int(text, 16) if text.startswith("0x") else int(text)
    except ValueError:
        op = -1
    if not 0 <= op < 1 << 32:
        raise BadArgument("opcode: must be 32 bits, decimal or hex with 0x")
    return op


def traces(devnet: Devnet, arguments: Arguments) -> dict[str, Any]:
    """`GET traces`: by account, trace, transaction, message, time or block."""
    search = _Search(arguments)
    if arguments.has("account"):
        search.among("account", arguments.places("account"))
    for name, column in (("trace_id", "trace"), ("tx_hash", "hash")):
        if arguments.has(name):
            search.equals(column, arguments.hash(name))
    if arguments.has("msg_hash"):
        hash_ = arguments.hash("msg_hash")
        search.where.append("(in_hash = ? OR in_norm = ?)")
        search.values += [hash_, hash_]
    if arguments.has("mc_seqno"):
        search.equals("block", arguments.number("mc_seqno"))
    search.range("utime", "start_utime", "end_utime")
    search.range("lt", "start_lt", "end_lt")
    names: dict[bytes, None] = {}
    query = search.query()
    step = Query(query.where, query.values, query.order, _WHOLE)
    for entry in devnet.log.find(step):
        names.setdefault(entry.trace)
    chosen = list(names)[query.offset : query.offset + query.limit]
    found = [devnet.log.find(Query(("trace = ?",), (one,), "lt ASC", _WHOLE)) for one in chosen]
    places = [entry.account for entries in found for entry in entries]
    return {
        "traces": [shapes.trace(entries) for entries in found],
        "address_book": shapes.address_book(places),
        "metadata": {},
    }


def masterchain_info(devnet: Devnet, _: Arguments) -> dict[str, Any]:
    """`GET masterchainInfo`: the first block and the newest."""
    head = devnet.log.head()
    return {"first": _block(devnet, min(head.seqno, 1)), "last": _block(devnet, head.seqno)}


def _block(devnet: Devnet, seqno: int) -> dict[str, Any]:
    block = devnet.log.block(seqno)
    return {
        "workchain": -1,
        "shard": shapes.SHARD,
        "seqno": seqno,
        "root_hash": b64(seqno.to_bytes(32, "big")),
        "file_hash": b64(seqno.to_bytes(32, "big")),
        "global_id": devnet.network,
        "gen_utime": str(block.utime if block else devnet.now()),
    }


def send_message(devnet: Devnet, arguments: Arguments) -> dict[str, Any]:
    """`POST message`: take an external message."""
    sent = devnet.send(arguments.boc())
    return {"message_hash": b64(sent.hash), "message_hash_norm": b64(sent.norm)}


def get_method(devnet: Devnet, arguments: Arguments) -> dict[str, Any]:
    """`POST runGetMethod`."""
    got = run_get_method(devnet, arguments)
    return {
        "gas_used": got.gas_used,
        "exit_code": got.exit_code,
        "stack": [show_v3(value) for value in got.values],
    }


def estimate_fee(devnet: Devnet, arguments: Arguments) -> dict[str, Any]:
    """`POST estimateFee`."""
    return {"source_fees": estimate(devnet, arguments), "destination_fees": []}


def address_book(_: Devnet, arguments: Arguments) -> dict[str, Any]:
    """`GET addressBook`: friendly forms."""
    return shapes.address_book(_places(arguments))


Method = Callable[[Devnet, Arguments], Any]

GETS: Final[dict[str, Method]] = {
    "accountStates": account_states,
    "addressInformation": address_information,
    "walletStates": wallet_states,
    "walletInformation": wallet_information,
    "transactions": transactions,
    "transactionsByMasterchainBlock": transactions_by_block,
    "transactionsByMessage": transactions_by_message,
    "adjacentTransactions": adjacent_transactions,
    "messages": messages,
    "traces": traces,
    "masterchainInfo": masterchain_info,
    "addressBook": address_book,
}
POSTS: Final[dict[str, Method]] = {
    "message": send_message,
    "runGetMethod": get_method,
    "estimateFee": estimate_fee,
}
