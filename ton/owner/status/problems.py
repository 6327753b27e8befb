"""Why a worker is not asked, or not as it could be: one sentence for each cause. Pure.

In the order in which an owner should read them: what stops the worker, what keeps gateways from
it, what makes them prefer others.
"""

from collections.abc import Iterator

from bombyx.control.document import HOUR_SECONDS, WorkerDocument
from bombyx.link.standing import ModelStanding, Place, Repute, WorkerStanding
from bombyx.money.channel.addresses import account_of
from ton.owner.status import claimable, gpus
from ton.owner.status.advice import Advice, advise
from ton.owner.status.problem import Problem
from ton.owner.status.sight import Sight
from ton.owner.status.sums import gram, refused, requests, since

DEAR_SHARE = 0.5
"""Of the others' offers cheaper: from here on the price is named as a cause."""
WEAK_SUCCESS = 0.9
FEW = 10
"""Requests below which shares say nothing."""
REFUSED_SHARE = 0.1
SOON_SECONDS = 600
LATELY_SECONDS = 24 * HOUR_SECONDS
UNSET = "unset"
_LOCAL = "local:"
"""Wallets of `bombyx up`, where nobody expects to be paid."""
_JOURNAL, _ENGINE = "journal", "engine"
"""Notices of a worker that cannot keep what it would sign, and of one model that is not there."""

_STANDS = {
    "withheld": "the operator of {} has taken this worker out: ask them why",
    "draining": "{} asks it for nothing new: it has said goodbye there",
    "evidence_ends": "its evidence ends within minutes, and {} shows it no longer",
    "not_linked": "{} has no link of this worker, whatever it says: see its log",
}
_REMEDIES = {
    "busy": "give it more --slots, or raise its prices",
    "draining": "it was stopping, or could not write its journal",
    "gateway_unpaid": "the gateway owes it more than unsecured_credit_nano",
    "stale_candidate": "clients name keys or offers that it no longer has",
    "clock_ahead": "its clock or the clients' is wrong",
    "clock_skew": "its clock or the clients' is wrong",
    "engine_failed": "the engine fails: see its log",
    "engine_timeout": "the engine is too slow",
}


def problems_of(sight: Sight) -> list[Problem]:
    """All that is wrong; where nothing is and nobody asks, that is said."""
    document = sight.document
    if document is None:
        found = [_absent(sight), *_silent(sight)]
        return found + list(claimable.problems(claimable.payables_of(sight)))
    found = [*_own(sight, document), *gpus.problems(sight.gpu, document.platform, sight.at)]
    found += _silent(sight)
    for origin, standing in sight.heard.items():
        found += _at_gateway(origin, standing, document)
    found += claimable.problems(claimable.payables_of(sight))
    found += [one for advice in advise(document.offers, sight.heard) for one in _dear(advice)]
    found += _refusals(document)
    return _unique(found) or _calm(document)


def _absent(sight: Sight) -> Problem:
    if sight.starts:
        return Problem("starting", sight.silence, stops=True)
    last = sight.last_words
    if last is not None:
        return Problem(last.code, f"the worker has stopped: {last.sentence}", stops=True)
    return Problem("not_running", sight.silence, stops=True)


def _silent(sight: Sight) -> Iterator[Problem]:
    for origin, standing in sight.standings.items():
        if isinstance(standing, str):
            yield Problem("gateway_silent", f"{origin} cannot be asked: {standing}")


def _own(sight: Sight, document: WorkerDocument) -> Iterator[Problem]:
    """What the worker knows itself."""
    if document.paused:
        yield Problem("paused", "it is paused: bombyx worker resume", stops=True)
    linked, is_only = bool(document.gateways), len(document.models) == 1
    for notice in document.notices:
        # Names are `link to URL`, `engine of MODEL`, `clock`, …
        code = notice.name.split()[0]
        stops = not linked or code == _JOURNAL or (code == _ENGINE and is_only)
        yield Problem(code, notice.sentence, stops=stops)
    if not linked and not document.paused and not document.notices:
        yield Problem("not_linked", "it is linked to no gateway yet", stops=True)
    if document.payout == UNSET:
        yield Problem("no_wallet", "it has no wallet, so nobody is paid: start it with --wallet")
    elif account_of(document.payout) is None and not document.payout.startswith(_LOCAL):
        sentence = f"its wallet {document.payout} is no address of TON, so no channel can pay it"
        yield Problem("bad_wallet", sentence)
    if document.not_after and document.not_after < sight.at + SOON_SECONDS:
        yield Problem("keys_end", "its keys end within minutes and no new ones came: see its log")


def _at_gateway(
    origin: str, standing: WorkerStanding, document: WorkerDocument
) -> Iterator[Problem]:
    """What a gateway knows of it."""
    if not standing.listed:
        # The worker itself knows best why it has no link; that is said above.
        if standing.reason != "not_linked" or document.gateways:
            yield Problem(standing.reason, _STANDS[standing.reason].format(origin), stops=True)
        return
    if standing.repute:
        yield from _reputed(origin, standing.repute)
    if standing.reason == "listed":
        for model in standing.models:
            yield from _model(origin, model, document)


def _reputed(origin: str, repute: Repute) -> Iterator[Problem]:
    if repute.breaker != "closed":
        yield Problem(
            "breaker_open",
            f"{origin} asks it last, because it failed again and again ({repute.failed} times so "
            "far): see its log for the cause",
        )
    elif repute.success < WEAK_SUCCESS and repute.answered + repute.failed >= FEW:
        yield Problem(
            "fails_often",
            f"{origin} prefers others, because only {repute.success:.0%} of its requests were "
            "answered lately",
        )


def _model(origin: str, model: ModelStanding, document: WorkerDocument) -> Iterator[Problem]:
    own = model.own
    if model.model not in document.models:
        return
    if not own:
        sentence = f"{origin} has no live offer of it for {model.model}"
        yield Problem("no_offer", sentence, stops=True)
        return
    if own.slots or not _is_told(document, model.model):
        yield from _place(origin, model.model, own)


def _is_told(document: WorkerDocument, model: str) -> bool:
    """Whether the worker itself says why there is no free slot."""
    causes = (_JOURNAL, f"{_ENGINE} of {model}")
    return any(one.name in causes for one in document.notices)


def _place(origin: str, model: str, own: Place) -> Iterator[Problem]:
    if not own.slots:
        yield Problem(
            "no_slots",
            f"its engine shows no free slot for {model}: it starts, or has failed",
            stops=True,
        )
    elif own.running >= own.slots:
        yield Problem("full", f"all of its {own.slots} slots for {model} are taken")
    elif own.held_back:
        yield Problem(
            "held_back",
            f"{origin} has given it as many requests for {model} at once as it has shown that it "
            "can answer; each prompt first token raises that",
        )


def _dear(advice: Advice) -> Iterator[Problem]:
    share = advice.cheaper_share
    if share is None or share < DEAR_SHARE or advice.own_cost is None:
        return
    sentence = (
        f"{advice.cheaper} of {advice.others} other offers for {advice.model} at {advice.origin} "
        f"are cheaper: a typical request costs {gram(advice.own_cost)} GRAM here and "
        f"{gram(advice.costs[0])} or less in the cheapest quarter"
    )
    yield Problem("dear", sentence)


def _refusals(document: WorkerDocument) -> Iterator[Problem]:
    lately = since(document.hours, document.at - LATELY_SECONDS)
    answered = requests(lately)
    codes = refused(lately)
    total = answered + sum(codes.values())
    for code, count in codes.items():
        if count >= REFUSED_SHARE * total and total >= FEW:
            remedy = _REMEDIES.get(code, "docs/errors.md says what it means")
            yield Problem(
                f"refused_{code}",
                f"{count} of {total} requests of the last day were refused as {code}: {remedy}",
            )


def _calm(document: WorkerDocument) -> list[Problem]:
    """Nothing is wrong; yet perhaps nobody asks."""
    if requests(since(document.hours, document.at - HOUR_SECONDS)):
        return []
    models = ", ".join(document.models)
    return [
        Problem("no_demand", f"nothing is wrong: nobody has asked for {models} in the last hour")
    ]


def _unique(found: list[Problem]) -> list[Problem]:
    """What stops the worker first; the same words once."""
    return sorted(dict.fromkeys(found), key=lambda one: not one.stops)
