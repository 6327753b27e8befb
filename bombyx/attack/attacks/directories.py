"""A malicious gateway that lies about its workers, to be sealed to or paid more (SPEC 13, 17)."""

import contextlib
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from bombyx.attack.defence import Defence
from bombyx.attack.means.liar import PRICES, Keys, record_of
from bombyx.attack.means.relay import Pass, relaying
from bombyx.attack.means.requests import Reply
from bombyx.attack.means.simulator import Proven, unix
from bombyx.attack.means.victim import PROMPT, Victim
from bombyx.attack.record import Role, Seen, attack, defeated, judged, succeeded
from bombyx.attack.target import Need, Target
from bombyx.attestation.directory import Directory
from bombyx.attestation.simulated import image_measurement
from bombyx.envelope.request import open_frames, parse_request, unwrap
from bombyx.errors import BombyxError
from bombyx.money.offer import Prices

Redo = Callable[[Directory], Awaitable[Directory]]
DAY = 24 * 3600


async def _unanswered(request: bytes, forward: Pass) -> Reply:  # noqa: ARG001 - nothing is asked
    return Reply(503, {"content-type": "application/json"}, b"{}")


async def sealed_under(target: Target, redo: Redo, **wishes: int) -> tuple[bytes | None, str]:
    """What a victim sends after reading a forged directory, and what it was told."""
    async with relaying(target, redo=redo, answer=_unanswered) as relay:
        told = await Victim(target, max_cost=wishes.get("max_cost")).ask(relay.url)
        return (relay.requests[0] if relay.requests else None), str(told)


async def bait(target: Target, keys: Keys, prove: Callable[[], Awaitable[Proven]]) -> Seen:
    """List a worker whose keys we hold, and see whether a prompt can be read with them."""
    proven = await prove()

    async def redo(listed: Directory) -> Directory:
        collateral = {str(proven.evidence.collateral): proven.collateral}
        return msgspec.structs.replace(listed, workers=[keys.entry(proven)], collateral=collateral)

    request, told = await sealed_under(target, redo)
    if request is None:
        return defeated(f"nothing was sent; {told}")
    text = _read(request, keys)
    return judged(PROMPT in text, f"the prompt was sealed to the attacker: {len(text)} characters")


def _read(request: bytes, keys: Keys) -> str:
    head, frames = parse_request(request)
    worker = bytes.fromhex(keys.worker)
    with contextlib.suppress(BombyxError):
        secrets = unwrap(head.wraps[0], keys.sealing, worker=worker, h=head.header.h, c=head.c)
        return open_frames(secrets.dek, head.header.h, frames).body.decode()
    return ""


@attack(
    Role.GATEWAY, Defence.EVIDENCE, "no_verified_worker: the quote binds other keys",
    Need.GATEWAY, Need.SIMULATOR,
)  # fmt: skip
async def keyset_swapped(target: Target) -> Seen:
    """Shows its own keys beside the genuine evidence of a real machine."""
    keys = Keys.fresh(await record_of(target))
    other = Keys.fresh(await record_of(target))

    async def prove() -> Proven:
        return await target.forge.prove(keys.keyset, bound_to=other.keyset)

    return await bait(target, keys, prove)


@attack(
    Role.GATEWAY, Defence.EVIDENCE, "no_verified_worker: the policy does not pin this root",
    Need.GATEWAY, Need.SIMULATOR,
)  # fmt: skip
async def evidence_under_own_root(target: Target) -> Seen:
    """Shows a machine whose certificates end in a root of the attacker's making."""
    keys = Keys.fresh(await record_of(target))

    async def prove() -> Proven:
        with tempfile.TemporaryDirectory() as folder:
            return await target.forge.elsewhere(Path(folder)).prove(keys.keyset)

    return await bait(target, keys, prove)


@attack(
    Role.GATEWAY, Defence.EVIDENCE, "no_verified_worker: the policy does not allow this image",
    Need.GATEWAY, Need.SIMULATOR,
)  # fmt: skip
async def other_image_measured(target: Target) -> Seen:
    """Shows a genuine machine that runs software which logs prompts."""
    keys = Keys.fresh(await record_of(target))

    async def prove() -> Proven:
        return await target.forge.prove(keys.keyset, image=image_measurement("evil"))

    return await bait(target, keys, prove)


@attack(
    Role.GATEWAY, Defence.EVIDENCE, "no_verified_worker: the collateral is out of date",
    Need.GATEWAY, Need.SIMULATOR,
)  # fmt: skip
async def stale_collateral(target: Target) -> Seen:
    """Shows collateral from before a patch level was revoked, long past its dates."""
    keys = Keys.fresh(await record_of(target))

    async def prove() -> Proven:
        return await target.forge.prove(keys.keyset, clock=lambda: unix() - 400 * DAY)

    return await bait(target, keys, prove)


@attack(
    Role.GATEWAY, Defence.EVIDENCE, "no_verified_worker: the keyset has expired",
    Need.GATEWAY, Need.SIMULATOR,
)  # fmt: skip
async def expired_keyset(target: Target) -> Seen:
    """Shows a keyset from before a key was stolen, which has expired since."""
    return await _with_keyset(target, not_after=unix() - 60)


@attack(
    Role.GATEWAY, Defence.EVIDENCE, "no_verified_worker: the keyset claims to live too long",
    Need.GATEWAY, Need.SIMULATOR,
)  # fmt: skip
async def everlasting_keyset(target: Target) -> Seen:
    """Shows a keyset that says it is good for ten years, so that a stolen key stays useful."""
    return await _with_keyset(target, not_after=unix() + 3650 * DAY)


@attack(
    Role.GATEWAY, Defence.EVIDENCE, "no_verified_worker: the policy does not allow the weights",
    Need.GATEWAY, Need.SIMULATOR,
)  # fmt: skip
async def other_weights(target: Target) -> Seen:
    """Shows a genuine machine that serves another model under the wanted model's name."""
    record = msgspec.structs.replace(await record_of(target), weights="ab" * 32)
    return await _with_keyset(target, models=[record])


async def _with_keyset(target: Target, **changes: object) -> Seen:
    keys = Keys.fresh(await record_of(target), **changes)

    async def prove() -> Proven:
        return await target.forge.prove(keys.keyset)

    return await bait(target, keys, prove)


@attack(
    Role.GATEWAY, Defence.OWN_DRAW, "no_verified_worker: the offer's signature is wrong",
    Need.GATEWAY,
)  # fmt: skip
async def price_inflated(target: Target) -> Seen:
    """Raises the prices in the workers' signed offers, to reserve and charge more."""
    dear = Prices(prompt="1", cached="1", completion="900000000000", reasoning="1")

    async def redo(listed: Directory) -> Directory:
        workers = [
            msgspec.structs.replace(
                entry,
                offers=[
                    msgspec.structs.replace(
                        signed, offer=msgspec.structs.replace(signed.offer, prices=dear)
                    )
                    for signed in entry.offers
                ],
            )
            for entry in listed.workers
        ]
        return msgspec.structs.replace(listed, workers=workers)

    request, told = await sealed_under(target, redo)
    return _paid(request, told)


def _paid(request: bytes | None, told: str) -> Seen:
    if request is None:
        return defeated(f"nothing was sent; {told}")
    header = parse_request(request)[0].header.header
    return succeeded(f"the client reserved {header.max_cost_nano} nano")


@attack(
    Role.GATEWAY, Defence.OWN_DRAW, "no_verified_worker: nobody has a live offer",
    Need.GATEWAY, Need.SIMULATOR,
)  # fmt: skip
async def directory_replayed(target: Target) -> Seen:
    """Shows an old directory again, whose offers have expired, to sell at yesterday's prices."""
    keys = Keys.fresh(await record_of(target))
    offer = keys.offer(valid_until=unix() - 60, prices=PRICES)
    proven = await target.forge.prove(keys.keyset)

    async def redo(listed: Directory) -> Directory:
        collateral = {str(proven.evidence.collateral): proven.collateral}
        workers = [keys.entry(proven, offer)]
        return msgspec.structs.replace(listed, workers=workers, collateral=collateral)

    request, told = await sealed_under(target, redo)
    return _paid(request, told)


@attack(
    Role.GATEWAY,
    Defence.OWN_DRAW,
    "gateway_refused: the policy pins another key",
    Need.GATEWAY,
    Need.PIN,
)
async def gateway_key_swapped(target: Target) -> Seen:
    """Names a key of its own as the gateway's, to sign what the real one never would."""

    async def redo(listed: Directory) -> Directory:
        return msgspec.structs.replace(listed, gateway="ab" * 32)

    request, told = await sealed_under(target, redo)
    return _paid(request, told)


@attack(
    Role.GATEWAY, Defence.LIMITS, "cost_cap_exceeded: the user's own cap forbids it", Need.GATEWAY
)
async def fee_inflated(target: Target) -> Seen:
    """Claims a fee as high as the whole amount, past what the user is ready to pay."""

    async def redo(listed: Directory) -> Directory:
        return msgspec.structs.replace(listed, fee_bps=10_000)

    # What an honest gateway would ask for is below this, with such a fee it is above.
    honest, _ = await sealed_under(target, _same)
    if honest is None:
        raise ValueError("the victim sent nothing to an honest gateway")
    cap = int(parse_request(honest)[0].header.header.max_cost_nano) + 1000
    async with relaying(target, redo=redo, answer=_unanswered) as relay:
        told = await Victim(target, max_cost=cap).ask(relay.url, max_tokens=4096)
        return _paid(relay.requests[0] if relay.requests else None, str(told))


async def _same(listed: Directory) -> Directory:
    return listed
