"""`bombyx demo`: the whole story on one machine, step by step; stops by itself."""

import json
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from bombyx.attestation.policy import parse_policy, preset
from bombyx.attestation.steps import Step
from bombyx.cli import demo_channel, demo_payout
from bombyx.cli.network.interrupt import stoppable
from bombyx.cli.network.network import Network, running
from bombyx.cli.network.plan import ChainKind, EngineKind, Wish
from bombyx.cli.network.proof import (
    Settled,
    await_receipt,
    check_books,
    entries_of,
    examine_all,
    recompute,
    refusals_of,
)
from bombyx.cli.network.question import PROMPT, Answered, ask
from bombyx.cli.network.state import write_private
from bombyx.cli.output import JsonOption, Output
from bombyx.cli.up import (
    ChainOption,
    EngineOption,
    EngineUrlOption,
    GatewayPortOption,
    ModelPathOption,
    PortOption,
    StateOption,
    WorkersOption,
    network_folder,
)
from bombyx.errors import BombyxError, NoVerifiedWorker
from bombyx.money.cost import Cost

FOLDER = "demo"
HARDWARE = "hardware"
CHANNEL, PREPAID = "channel", "prepaid"
_STYLES = {"pass": "green", "fail": "red", "unknown": "yellow"}


def demo(  # noqa: PLR0913 - one parameter per flag
    *,
    state: StateOption = None,
    engine: EngineOption = EngineKind.LLAMACPP,
    engine_url: EngineUrlOption = None,
    model_path: ModelPathOption = None,
    workers: WorkersOption = 2,
    port: PortOption = 8787,
    gateway_port: GatewayPortOption = 8080,
    chain: ChainOption = ChainKind.AUTO,
    as_json: JsonOption = False,
) -> None:
    """Start a network, stream one sealed answer, show its proof and its price, stop."""
    wish = Wish(engine, engine_url, workers, port, gateway_port, model_path, chain=chain)
    teller = _Teller(Output(as_json=as_json))
    teller.step("Starting chain, gateway, workers and sidecar")
    with (
        stoppable(),
        running(network_folder(state, FOLDER), wish, say=teller.detail) as network,
    ):
        document = _tell(network, teller)
        teller.step("Stopping everything")
    teller.output.answer(document, "Done. `bombyx up` leaves the same network running.")


class _Teller:
    """Numbers the steps of the story."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self._number = 0

    def step(self, title: str) -> None:
        self._number += 1
        self.output.say(Text(f"\n{self._number}. {title}", style="bold"))

    def detail(self, text: str) -> None:
        self.output.say(f"   {text}")

    def piece(self, text: str) -> None:
        """Part of a line, shown at once."""
        stream = sys.stderr if self.output.as_json else sys.stdout
        stream.write(text)
        stream.flush()


def _tell(network: Network, teller: _Teller) -> dict[str, Any]:
    teller.detail(f"sidecar {network.sidecar}, gateway {network.gateway}")
    paying = _open(network, teller)
    model = network.models[0]
    policy = parse_policy(tomllib.loads(network.state.policy.read_text(encoding="utf-8")))
    teller.step("Verifying every worker before anything is sealed to it")
    listing = network.books.directory(model)
    examined = examine_all(listing, policy, now=_now())
    teller.step("Asking through the stock OpenAI SDK, pointed at the sidecar")
    answer = _ask(network, teller, model)
    worker = str(answer.summary["worker"])
    if worker not in examined:
        raise NoVerifiedWorker("a worker answered that the directory does not list")
    teller.step("The worker that answered, step by step")
    teller.output.say(_steps(examined[worker].steps))
    teller.step("The same worker, for whoever insists on hardware")
    refused = _insist(teller, listing, worker)
    teller.step("The receipt that the worker signed")
    settled = await_receipt(network.books, str(answer.summary["id"]))
    file = _save(network, settled)
    cost = recompute(settled.statement)
    _explain(teller, settled, cost, file)
    voucher = None
    if paying is not None:
        voucher = demo_channel.voucher_of(paying, settled.statement, teller.detail)
    teller.step("The gateway's ledger for this request")
    entries = entries_of(network.books, settled.statement.c)
    check_books(entries, cost, whole_sum=str(network.books.ledger(limit=1)["sum_nano"]))
    teller.output.say(_ledger(entries))
    teller.detail("each request's lines, and the whole ledger, sum to 0")
    money = {} if paying is None else _settle(paying, teller, entries)
    return {
        "tier": str(answer.summary["tier"]),
        "model": model,
        "answer": answer.text,
        "verification": examined[worker].document,
        "hardware": refused,
        "usage": answer.usage,
        "receipt": settled.file["receipt"],
        "receipt_file": str(file),
        "ledger": entries,
        "payment": PREPAID if paying is None else CHANNEL,
        **dict.fromkeys(("channel", "voucher", "claim", "payout", "balances")),
        **money,
        "voucher": voucher,
    }


def _open(network: Network, teller: _Teller) -> demo_channel.Paying | None:
    if network.payer is not None:
        teller.step("Opening a payment channel to the gateway")
    return demo_channel.begin(network, teller.detail)


def _settle(
    paying: demo_channel.Paying, teller: _Teller, entries: Sequence[dict[str, str]]
) -> dict[str, Any]:
    """Claim, pay the worker, close: what became of the money."""
    teller.step("The gateway claims on chain, with the client's voucher")
    claimed = demo_channel.claim(paying, teller.detail)
    teller.step("The gateway pays the worker's owner, by a channel of its own")
    payout = demo_payout.pay(paying, entries, teller.detail)
    teller.step("Closing the channel, as both sides sign")
    paying.network.supervisor.stop_latest()
    ended = demo_channel.end(paying, payout, teller.detail)
    teller.output.say(ended.pop("table"))
    teller.detail("all balances and fees add up to the nano")
    return {"claim": claimed, "payout": payout, **ended}


def _insist(teller: _Teller, listing: bytes, worker: str) -> str:
    """Why the policy `hardware` refuses the worker; raises `BombyxError` if it does not."""
    refused = refusals_of(listing, preset(HARDWARE), now=_now())
    why = refused.get(worker)
    if why is None:
        raise BombyxError("a simulated worker passes the policy `hardware`")
    teller.detail(f"--policy {HARDWARE} refuses it: {why}")
    return why


def _ask(network: Network, teller: _Teller, model: str) -> Answered:
    teller.detail(f"model: {model}")
    if model.startswith("smollm2"):
        teller.detail("(135 million parameters: a test model, right about little)")
    teller.detail(f"user:  {PROMPT}")
    teller.piece("   model: ")
    answer = ask(network.sidecar, api_key=network.keys.api_key, model=model, on_text=teller.piece)
    teller.piece("\n")
    counts = {name: count for name, count in answer.usage.items() if isinstance(count, int)}
    teller.detail(f"usage: {json.dumps(counts)}")
    teller.detail(f"the sidecar verified the receipt: {answer.summary['receipt_hash']}")
    return answer


def _save(network: Network, settled: Settled) -> Path:
    file = network.state.receipts / f"{settled.statement.id}.json"
    write_private(file, json.dumps(settled.file, indent=1) + "\n")
    return file


def _explain(teller: _Teller, settled: Settled, cost: Cost, file: Path) -> None:
    statement = settled.statement
    tokens, prices = statement.tokens, statement.prices
    teller.detail(f"({tokens.prompt} - {tokens.cached}) prompt x {prices.prompt}")
    teller.detail(f"+ {tokens.cached} cached x {prices.cached}")
    teller.detail(f"+ ({tokens.completion} - {tokens.reasoning}) completion x {prices.completion}")
    teller.detail(f"+ {tokens.reasoning} reasoning x {prices.reasoning}")
    teller.detail(
        f"= {cost.amount} nano for the worker (prices are nano per million tokens, rounded up), "
        f"+ {cost.fee} fee ({statement.fee_bps} bps) = {cost.charge}; "
        f"the receipt says {statement.charge_nano}"
    )
    teller.detail(f"saved; check it again with: bombyx receipt verify {file}")


def _steps(steps: Sequence[Step]) -> Table:
    table = Table("step", "result", "detail")
    for step in steps:
        result = Text(step.result.value, style=_STYLES[step.result.value])
        table.add_row(step.name.value, result, Text(step.detail))
    return table


def _ledger(entries: Sequence[dict[str, str]]) -> Table:
    table = Table("account", "what", "nano")
    for entry in entries:
        table.add_row(entry["account"], entry["kind"], entry["amount_nano"])
    table.add_row("sum", "", str(sum(int(entry["amount_nano"]) for entry in entries)))
    return table


def _now() -> int:
    return int(time.time())  # noqa: TID251 - a shell: it hands the clock to the verification
