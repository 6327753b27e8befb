"""A malicious gateway that wants a client to seal anew, and so to pay twice (SPEC 14)."""

import dataclasses
from typing import Any

import msgspec

from bombyx.attack.defence import Defence
from bombyx.attack.means.liar import Keys, now_ms, record_of
from bombyx.attack.means.relay import Pass, Redo, Relay, relaying
from bombyx.attack.means.requests import Forger, Reply
from bombyx.attack.means.victim import Victim
from bombyx.attack.record import Role, Seen, attack, judged
from bombyx.attack.target import Need, Target
from bombyx.attestation.directory import Directory
from bombyx.client.choice import MAX_DRAWN
from bombyx.envelope.header import hash_header
from bombyx.envelope.request import RequestHead, parse_request
from bombyx.link.documents import Refusal, SignedRefusal
from bombyx.signing import Kind

PROBLEM = {"content-type": "application/problem+json"}
MAX_RENEWALS = 2
"""A request and the one that may be sealed after it."""
ENOUGH = 6
"""A client that has sealed so many would go on for ever."""


def problem(*refusals: SignedRefusal) -> Reply:
    """A 422 as a gateway sends it that ran nothing."""
    document = {"code": "no_candidate", "refusals": refusals}
    return Reply(422, dict(PROBLEM), msgspec.json.encode(document))


def renewed(relay: Relay, told: object) -> Seen:
    """Whether the client sealed a second request for the same call."""
    commitments = {parse_request(one)[0].c for one in relay.requests}
    count = len(commitments)
    return judged(count > 1, f"{count} request(s) were sealed for one call; {told}")


async def paid_twice(target: Target, relay: Relay, told: object) -> Seen:
    """Whether more than one request was billed for the same call."""
    forger = Forger(target)
    commitments = {parse_request(one)[0].c for one in relay.requests}
    bills = [await forger.settled(c) for c in commitments]
    paid = sum(int(bill.get("charge_nano", "0")) > 0 for bill in bills)
    return judged(paid > 1, f"{paid} of {len(bills)} request(s) were billed for one call; {told}")


async def _spoilt(target: Target, workers: int) -> list[SignedRefusal]:
    """Send a request whose payer's signature is wrong to so many workers; what they say."""
    forger = Forger(target)
    sealed = await forger.sealed("say: x", count=workers)
    broken = dataclasses.replace(sealed, auth=bytes(64))
    reply = await forger.post(broken.encode())
    return [msgspec.convert(one, SignedRefusal) for one in reply.json().get("refusals", [])]


async def _after_running(target: Target, *refusals: SignedRefusal) -> Seen:
    """Let the request run and be billed, then claim that it was refused."""

    async def answer(request: bytes, forward: Pass) -> Reply:
        await forward(request)
        return problem(*refusals)

    async with relaying(target, answer=answer) as relay:
        return renewed(relay, await Victim(target).ask(relay.url))


@attack(
    Role.GATEWAY, Defence.REFUSAL_PROOF, "unproven_refusal: the signature is not the worker's",
    Need.GATEWAY,
)  # fmt: skip
async def refusal_forged(target: Target) -> Seen:
    """Runs a request and then shows a refusal that it wrote itself in a worker's name."""

    async def answer(request: bytes, forward: Pass) -> Reply:
        await forward(request)
        head = parse_request(request)[0]
        return problem(*(_unsigned(head, one.worker) for one in head.header.header.candidates))

    async with relaying(target, answer=answer) as relay:
        return renewed(relay, await Victim(target).ask(relay.url))


def _refusal(head: RequestHead, worker: str) -> Refusal:
    return Refusal(
        worker=worker,
        gateway=head.header.header.gateway,
        code="busy",
        fault="worker",
        at=now_ms(),
        c=head.c.hex(),
        h=head.header.h.hex(),
    )


def _signed(refusal: Refusal, keys: Keys) -> SignedRefusal:
    signature = keys.receipt.sign(Kind.REFUSAL, refusal).hex()
    return SignedRefusal(refusal=refusal, signature=signature)


def _unsigned(head: RequestHead, worker: str) -> SignedRefusal:
    return SignedRefusal(refusal=_refusal(head, worker), signature="00" * 64)


@attack(
    Role.GATEWAY, Defence.REFUSAL_PROOF, "unproven_refusal: the refusal is of another request",
    Need.GATEWAY,
)  # fmt: skip
async def refusal_of_another_request(target: Target) -> Seen:
    """Runs a request and then shows a worker's genuine refusal of another one."""
    everyone = len((await Forger(target).directory()).workers)
    return await _after_running(target, *await _spoilt(target, min(everyone, MAX_DRAWN)))


@attack(
    Role.GATEWAY, Defence.REFUSAL_PROOF, "unproven_refusal: that worker was not asked",
    Need.GATEWAY,
)  # fmt: skip
async def refusal_by_a_stranger(target: Target) -> Seen:
    """Runs a request and then shows refusals signed by workers of its own."""
    record = await record_of(target)
    strangers = [Keys.fresh(record) for _ in range(MAX_DRAWN)]

    async def answer(request: bytes, forward: Pass) -> Reply:
        await forward(request)
        head = parse_request(request)[0]
        return problem(*(_signed(_refusal(head, keys.worker), keys) for keys in strangers))

    async with relaying(target, answer=answer) as relay:
        return renewed(relay, await Victim(target).ask(relay.url))


@attack(
    Role.GATEWAY, Defence.REFUSAL_PROOF, "unproven_refusal: the refusal names another header",
    Need.GATEWAY,
)  # fmt: skip
async def refusal_of_altered_header(target: Target) -> Seen:
    """Alters a header so that a worker truly refuses its commitment, and runs the true one."""

    async def answer(request: bytes, forward: Pass) -> Reply:
        head, frames = parse_request(request)
        refused = await forward(_altered(head, frames))
        refusals = [msgspec.convert(one, SignedRefusal) for one in refused.json()["refusals"]]
        return problem(*refusals)

    async with relaying(target, answer=answer) as relay:
        return renewed(relay, await Victim(target).ask(relay.url))


def _altered(head: RequestHead, frames: bytes) -> bytes:
    header = head.header.header
    return _under(head, frames, max_output_tokens=header.max_output_tokens + 1)


def _under(head: RequestHead, frames: bytes, **changes: Any) -> bytes:
    """The same request under a header with changes."""
    raw = hash_header(msgspec.structs.replace(head.header.header, **changes)).raw
    return b"".join(
        (
            len(raw).to_bytes(4),
            raw,
            head.c,
            head.auth,
            bytes([len(head.wraps)]),
            *head.wraps,
            frames,
        )
    )


@attack(Role.GATEWAY, Defence.REFUSAL_PROOF, "the client gives up after one renewal", Need.GATEWAY)
async def rotation_loop(target: Target) -> Seen:
    """Sends every request away with a genuine 422, so that the client seals and signs for ever."""
    answers = 0

    async def answer(request: bytes, forward: Pass) -> Reply:
        nonlocal answers
        answers += 1
        if answers > ENOUGH:
            return Reply(503, {"content-type": "application/json"}, b"{}")
        # The gateway's note names the commitment alone.
        head, frames = parse_request(request)
        return await forward(_under(head, frames, fee_bps=(head.header.header.fee_bps + 1) % 100))

    async with relaying(target, answer=answer) as relay:
        told = await Victim(target).ask(relay.url)
        count = len({parse_request(one)[0].c for one in relay.requests})
        return judged(count > MAX_RENEWALS, f"{count} requests were sealed; {told}")


@attack(
    Role.GATEWAY, Defence.REFUSAL_PROOF, "clock_ahead is no proof: nothing is sealed anew",
    Need.GATEWAY, Need.SIMULATOR,
)  # fmt: skip
async def clock_ahead_as_proof(target: Target) -> Seen:
    """Shows a genuine `clock_ahead`, of a request that the worker may yet run."""
    keys = Keys.fresh(await record_of(target))
    redo = await listing(target, keys, honest=0)

    async def answer(request: bytes, forward: Pass) -> Reply:  # noqa: ARG001 - nothing is asked
        refusal = _refusal(parse_request(request)[0], keys.worker)
        early = msgspec.structs.replace(refusal, code="clock_ahead", fault="unattributed")
        return problem(_signed(early, keys))

    async with relaying(target, redo=redo, answer=answer) as relay:
        return renewed(relay, await Victim(target).ask(relay.url))


async def listing(target: Target, keys: Keys, *, honest: int) -> Redo:
    """List a proven worker of the attack's own beside the first `honest` ones."""
    proven = await target.forge.prove(keys.keyset)

    async def redo(listed: Directory) -> Directory:
        return msgspec.structs.replace(
            listed,
            workers=[*listed.workers[:honest], keys.entry(proven)],
            collateral={**listed.collateral, str(proven.evidence.collateral): proven.collateral},
        )

    return redo


@attack(
    Role.GATEWAY, Defence.REFUSAL_PROOF, "unproven_refusal: no note that nothing is billed",
    Need.GATEWAY,
)  # fmt: skip
async def billed_then_sent_away(target: Target) -> Seen:
    """Runs a request, bills it, says that it had nobody to run it, and bills the next one too."""

    async def answer(request: bytes, forward: Pass) -> Reply:
        reply = await forward(request)
        return problem() if len(relay.requests) == 1 else reply

    async with relaying(target, answer=answer) as relay:
        return await paid_twice(target, relay, await Victim(target).ask(relay.url))


@attack(
    Role.GATEWAY, Defence.REFUSAL_PROOF, "unproven_refusal: not every worker refused",
    Need.GATEWAY, Need.SIMULATOR,
)  # fmt: skip
async def billed_beside_a_refusal(target: Target) -> Seen:
    """Has one worker run a request and another one truly refuse it, and shows the refusal."""
    keys = Keys.fresh(await record_of(target))
    redo = await listing(target, keys, honest=1)

    async def answer(request: bytes, forward: Pass) -> Reply:
        reply = await forward(request)
        if len(relay.requests) > 1:
            return reply
        return problem(_signed(_refusal(parse_request(request)[0], keys.worker), keys))

    async with relaying(target, redo=redo, answer=answer) as relay:
        return await paid_twice(target, relay, await Victim(target).ask(relay.url))


@attack(
    Role.GATEWAY, Defence.REFUSAL_PROOF, "unproven_refusal: the note is of another request",
    Need.GATEWAY,
)  # fmt: skip
async def note_of_another_request(target: Target) -> Seen:
    """Runs a request, bills it, and shows the gateway's genuine note about another one."""
    forger = Forger(target)
    fee_bps = ((await forger.directory()).fee_bps + 1) % 100
    note = await forger.post((await forger.sealed("say: x", fee_bps=fee_bps)).encode())

    async def answer(request: bytes, forward: Pass) -> Reply:
        reply = await forward(request)
        return note if len(relay.requests) == 1 else reply

    async with relaying(target, answer=answer) as relay:
        return await paid_twice(target, relay, await Victim(target).ask(relay.url))


@attack(
    Role.GATEWAY,
    Defence.REFUSAL_PROOF,
    "insufficient_quota: nothing is sealed anew, for more or at all",
    Need.GATEWAY,
)
async def ceiling_raised_by_a_lying_402(target: Target) -> Seen:
    """Runs a request, then says that its ceiling was too low, to be given a higher one."""

    async def answer(request: bytes, forward: Pass) -> Reply:
        await forward(request)
        document = {"code": "no_candidate", "refusals": [], "need": "900000000000", "ceiling": "0"}
        return Reply(402, dict(PROBLEM), msgspec.json.encode(document))

    async with relaying(target, answer=answer) as relay:
        return renewed(relay, await Victim(target).ask(relay.url))
