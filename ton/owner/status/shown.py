"""The owner's view for people: a few lines and one table for each worker."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ton.owner.status.sums import gram

if TYPE_CHECKING:
    from rich.console import RenderableType

SHOWN_LINES = 12
"""Of hours with anything in them: half a day."""
_ID = 16
_MIB = 2**20


def shown(document: Mapping[str, Any]) -> "list[RenderableType]":
    """Everything that `owner_document` holds and a person wants to read."""
    parts: list[RenderableType] = []
    for worker in document["workers"]:
        parts += [*_worker(worker), ""]
    totals = document["totals"]
    parts.append(
        f"{totals['serving']} of {totals['workers']} workers serve; earned in the last hour "
        f"{gram(int(totals['earned_hour_nano']))}, day {gram(int(totals['earned_day_nano']))}; "
        f"not paid yet {gram(int(totals['unpaid_nano']))}, to be claimed "
        f"{gram(int(totals['claimable_nano']))} GRAM"
    )
    return parts


def _worker(worker: Mapping[str, Any]) -> "Iterator[RenderableType]":
    yield _headline(worker)
    for problem in worker["problems"]:
        yield f"  {'STOPPED' if problem['stops'] else 'note'}: {problem['sentence']}"
    if worker["running"]:
        yield from _facts(worker)
    yield from (f"  {line}" for line in _prices(worker["prices"]))
    if not worker["running"]:
        yield from (f"  {line}" for line in _nobody(worker["gateways"]))
        return
    yield from (f"  {line}" for line in _gpus(worker["gpus"]))
    lately = [one for one in worker["hours"] if one["requests"] or one["refused"]]
    if lately:
        yield _table(lately[-SHOWN_LINES:], worker["slots"])


def _headline(worker: Mapping[str, Any]) -> str:
    if not worker["running"]:
        return f"{worker['state']}: {'starts' if worker['starting'] else 'does not run'}"
    state = "serves" if worker["serving"] else "does NOT serve"
    return (
        f"{worker['state']}: worker {worker['worker'][:_ID]} {state} "
        f"{', '.join(worker['models'])} on {worker['platform']}"
    )


def _facts(worker: Mapping[str, Any]) -> Iterator[str]:
    links = [f"{one['url']}{'' if one['gateway'] else ' (down)'}" for one in worker["links"]]
    yield f"  links: {', '.join(links) or 'none'}"
    for gateway in worker["gateways"]:
        told = gateway.get("standing", {}).get("repute")
        if told and told["answered"] + told["failed"]:  # else it is only what newcomers begin with
            yield (
                f"  {gateway['origin']}: breaker {told['breaker']}, "
                f"{told['success']:.0%} answered, first token {told['first_token_s']:.2f} s, "
                f"{told['tokens_per_second']:.0f} tokens/s, {told['at_once']} at once"
            )
    yield (
        f"  evidence {worker['platform']}, keys until {_time(worker['keys_until'])} UTC, journal "
        f"sealed by {worker['sealed_by']}, rollback {worker['rollback']}"
    )
    use = worker["utilisation"]
    yield (
        f"  busy {_share(use['hour'])} this hour, {_share(use['day'])} of the day; "
        f"{worker['requests_now']} of {worker['slots']} slots taken now"
    )
    unpaid = sum(map(int, worker["unpaid_nano"].values()))
    yield (
        f"  earned {gram(int(worker['earned_hour_nano']))} this hour, "
        f"{gram(int(worker['earned_day_nano']))} in a day, "
        f"{gram(int(worker['earned_kept_nano']))} in 90; not paid yet {gram(unpaid)} GRAM, "
        f"to {worker['payout']}"
    )
    if worker["refused_day"]:
        codes = ", ".join(f"{code} {count}" for code, count in worker["refused_day"].items())
        yield f"  refused in a day: {codes}"


def _prices(prices: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for one in prices:
        low, middle, high = (gram(int(cost)) for cost in one["quartiles_nano"])
        line = (
            f"price of {one['model']}: the quartiles of {one['offers']} are {low}, {middle}, {high}"
        )
        if one["own_cost_nano"] is not None:
            line += f", its own is {gram(int(one['own_cost_nano']))}"
        if one["cheaper_share"] is not None:
            line += f"; {one['cheaper_share']:.0%} of the others are cheaper"
        yield line
        if one["own_cost_nano"] is None:
            yield f"  in the middle of them with {_flags(one['middle_prices'])}"
        elif one["quarter_prices"] and not one["among_cheapest_quarter"]:
            yield f"  among the cheapest quarter with {_flags(one['quarter_prices'])}"


def _nobody(gateways: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Models that were asked for and that there is no price of."""
    for gateway in gateways:
        for model in gateway.get("standing", {}).get("models", ()):
            if not model["offers"]:
                yield f"nobody offers {model['model']} at {gateway['origin']}"


def _flags(prices: Mapping[str, str]) -> str:
    return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in prices.items())


def _gpus(told: Mapping[str, Any] | None) -> Iterator[str]:
    for gpu in (told or {}).get("gpus", ()):
        facts = [f"GPU {gpu.get('index')}", str(gpu.get("name", "unknown"))]
        if "utilisation" in gpu:
            facts.append(f"{gpu['utilisation']} %")
        if "memory_used" in gpu and "memory_total" in gpu:
            used, total = gpu["memory_used"] // _MIB, gpu["memory_total"] // _MIB
            facts.append(f"{used} of {total} MiB")
        if "temperature" in gpu:
            facts.append(f"{gpu['temperature']} °C")
        if "power_mw" in gpu:
            facts.append(f"{gpu['power_mw'] / 1000:.0f} W")
        yield ", ".join(facts)


def _table(hours: Sequence[Mapping[str, Any]], slots: int) -> "RenderableType":
    from rich.table import Table  # noqa: PLC0415 - keeps `bombyx --help` quick

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("  hour (UTC)", no_wrap=True)
    # On a narrow terminal the name gives way: a number that is cut short would be another one.
    table.add_column("model", overflow="fold")
    for name in ("requests", "in", "out", "earned", "busy", "refused"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in hours:
        busy = one["busy_ms"] / (slots * 3_600_000) if slots else 0.0
        table.add_row(
            f"  {_time(one['start'])}",
            one["model"] or "-",
            str(one["requests"]),
            str(one["prompt"]),
            str(one["completion"]),
            gram(int(one["earned_nano"])),
            f"{busy:.1%}",
            str(sum(one["refused"].values())),
        )
    return table


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%m-%d %H:%M")


def _share(value: float | None) -> str:
    return "?" if value is None else f"{value:.1%}"
