"""A worker that is not what it says on its link, or does not keep to the link's rules (SPEC 10)."""

import asyncio
import contextlib
import os

import msgspec

from bombyx import canonical
from bombyx.attack.defence import Defence
from bombyx.attack.means.dialling import Wire, dialled, identify, lying
from bombyx.attack.means.liar import Keys, Liar, SentAway, record_of
from bombyx.attack.means.requests import Forger
from bombyx.attack.means.simulator import Proven
from bombyx.attack.record import Role, Seen, attack, defeated, judged
from bombyx.attack.target import Need, Target
from bombyx.attestation.keyset import keyset_digest
from bombyx.attestation.simulated import image_measurement
from bombyx.link.frames import LinkType
from bombyx.link.hello import Identify
from bombyx.money.offer import Prices, offer_hash, sign_offer
from bombyx.signing import SEED_BYTES, Signer
from bombyx.signing import Role as KeyRole

LOOKS, LOOK_SECONDS = 10, 0.05
"""An offer is written down before it is listed."""
CHEAP = Prices(prompt="1", cached="1", completion="1", reasoning="1")


async def _dial(target: Target, keys: Keys, proven: Proven) -> Seen:
    async with dialled(target) as wire:
        hello, challenge = await wire.greet()
        word = identify(hello, challenge, keys=keys, proven=proven, offers=[keys.offer()])
        await wire.say(LinkType.IDENTIFY, word)
        return await _welcomed(wire)


async def _welcomed(wire: Wire) -> Seen:
    try:
        frame = await wire.hear()
    except SentAway as error:
        return defeated(f"sent away: {error}")
    return judged(frame.type == LinkType.WELCOME, f"heard {LinkType(frame.type).name.lower()}")


@attack(
    Role.WORKER, Defence.LINK_HELLO, "sent away: the signature is not this keyset's", Need.GATEWAY
)
async def worker_impersonated(target: Target) -> Seen:
    """Dials with keyset and evidence copied out of the directory, without that worker's keys."""
    listed = await Forger(target).directory()
    entry = listed.workers[0]
    collateral = listed.collateral[str(entry.evidence.collateral)]
    stolen = Proven(entry.keyset, entry.evidence, collateral)
    keys = Keys.fresh(entry.keyset.models[0])
    async with dialled(target) as wire:
        hello, challenge = await wire.greet()
        word = identify(hello, challenge, keys=keys, proven=stolen, offers=entry.offers)
        await wire.say(LinkType.IDENTIFY, word)
        return await _welcomed(wire)


@attack(
    Role.WORKER, Defence.LINK_HELLO, "sent away: the signature is over another nonce",
    Need.GATEWAY, Need.SIMULATOR,
)  # fmt: skip
async def hello_replayed(target: Target) -> Seen:
    """Repeats a worker's hello that it overheard on an earlier link."""
    keys = Keys.fresh(await record_of(target))
    proven = await target.forge.prove(keys.keyset)
    overheard: list[Identify] = []
    for _ in range(2):
        async with dialled(target) as wire:
            hello, challenge = await wire.greet()
            word = identify(hello, challenge, keys=keys, proven=proven, offers=[keys.offer()])
            overheard.append(word)
            await wire.say(LinkType.IDENTIFY, overheard[0])
            seen = await _welcomed(wire)
    return seen


@attack(
    Role.WORKER, Defence.EVIDENCE, "sent away: the quote binds other keys",
    Need.GATEWAY, Need.SIMULATOR,
)  # fmt: skip
async def keys_outside_of_evidence(target: Target) -> Seen:
    """Dials with keys made outside of the machine that its evidence is of."""
    record = await record_of(target)
    keys, inside = Keys.fresh(record), Keys.fresh(record)
    proven = await target.forge.prove(keys.keyset, bound_to=inside.keyset)
    return await _dial(target, keys, proven)


@attack(
    Role.WORKER, Defence.EVIDENCE, "sent away: the policy does not allow this image",
    Need.GATEWAY, Need.SIMULATOR,
)  # fmt: skip
async def worker_of_another_image(target: Target) -> Seen:
    """Dials with a machine that runs software of its owner's making."""
    keys = Keys.fresh(await record_of(target))
    proven = await target.forge.prove(keys.keyset, image=image_measurement("evil"))
    return await _dial(target, keys, proven)


@attack(
    Role.WORKER, Defence.SIGNATURE_KINDS, "a gateway's challenge is no other document",
    Need.GATEWAY,
)  # fmt: skip
async def gateway_made_an_oracle(target: Target) -> Seen:
    """Has the gateway sign a nonce that is the digest of a note about a lost request."""
    lost = {"gateway": "", "c": "ab" * 32, "at": 1}
    async with dialled(target) as wire:
        _, first = await wire.greet()
        lost["gateway"] = first.gateway
        digest = canonical.digest(lost)
        await wire.socket.close()
    async with dialled(target) as wire:
        await wire.say(LinkType.HELLO, {"v": "bombyx-link/1", "nonce": digest.hex()})
        frame = await wire.hear()
    signature = bytes.fromhex(msgspec.json.decode(frame.payload)["signature"])
    signed = _is_over(signature, bytes.fromhex(first.gateway), lost, digest)
    return judged(signed, "the signature is over the challenge alone" if not signed else "signed")


def _is_over(signature: bytes, key: bytes, document: object, digest: bytes) -> bool:
    """Whether a signature is that of any kind over the document, or of the bare digest."""
    from nacl.bindings import crypto_sign_open  # noqa: PLC0415
    from nacl.exceptions import CryptoError  # noqa: PLC0415

    from bombyx.signing import Kind, message  # noqa: PLC0415

    for covered in (digest, *(message(kind, document) for kind in Kind)):
        with contextlib.suppress(CryptoError):
            crypto_sign_open(signature + covered, key)
            return True
    return False


async def _shown(target: Target, worker: str) -> list[str]:
    """The offers that the directory shows for a worker."""
    listed = await Forger(target).directory()
    found = [one for one in listed.workers if keyset_digest(one.keyset) == worker]
    return [offer_hash(signed.offer) for one in found for signed in one.offers]


@attack(Role.WORKER, Defence.OWN_DRAW, "the offer is not listed", Need.GATEWAY, Need.SIMULATOR)
async def offer_in_anothers_name(target: Target) -> Seen:
    """Publishes a ruinous offer that names another worker."""
    async with lying(target) as liar:
        foreign = liar.keys.offer(worker="ab" * 32, prices=CHEAP, valid_until=2**40)
        return await _published(target, liar, canonical.encode(foreign), offer_hash(foreign.offer))


@attack(
    Role.WORKER, Defence.OWN_DRAW, "the link fails: the offer is not signed by the link key",
    Need.GATEWAY, Need.SIMULATOR,
)  # fmt: skip
async def offer_of_another_key(target: Target) -> Seen:
    """Publishes an offer under a key that its evidence does not name."""
    async with lying(target) as liar:
        stranger = Signer(KeyRole.LINK, os.urandom(SEED_BYTES))
        forged = sign_offer(liar.keys.offer(prices=CHEAP, valid_until=2**40).offer, stranger)
        return await _published(target, liar, canonical.encode(forged), offer_hash(forged.offer))


async def _published(target: Target, liar: Liar, document: bytes, name: str) -> Seen:
    await liar.document(LinkType.OFFER, document)
    alive = await liar.is_heard()
    for _ in range(LOOKS):
        shown = await _shown(target, liar.worker)
        if name in shown or not shown:
            break
        await asyncio.sleep(LOOK_SECONDS)
    return judged(
        name in shown, f"link {'alive' if alive else 'closed'}, {len(shown)} offers shown"
    )


@attack(Role.WORKER, Defence.LINK_FRAMING, "the link is closed", Need.GATEWAY, Need.SIMULATOR)
async def link_message_oversized(target: Target) -> Seen:
    """Sends link messages of 100 KiB, which would stall every neighbour's tokens."""
    async with lying(target) as liar:
        ping = bytes([LinkType.PING]) + bytes(4) + (8).to_bytes(4) + bytes(8)
        await liar.socket.send_bytes(ping * (100 * 2**10 // len(ping)))
        alive = await liar.is_heard() and not liar.closed.is_set()
        return judged(alive, f"link {'alive' if alive else 'closed'}")


@attack(
    Role.WORKER, Defence.LINK_FRAMING, "the link is closed: no such word from a worker",
    Need.GATEWAY, Need.SIMULATOR,
)  # fmt: skip
async def gateway_words_from_a_worker(target: Target) -> Seen:
    """Sends the gateway an acknowledgement, as if it were the gateway."""
    async with lying(target) as liar:
        await liar.document(LinkType.ACK, b'{"dispositions":[]}')
        alive = await liar.is_heard()
        return judged(alive, f"link {'alive' if alive else 'closed'}")
