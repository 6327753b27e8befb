"""A false gateway that a real worker has dialled: wants work that nobody pays for (SPEC 4, 10)."""

import asyncio
import contextlib
import hashlib
import os
from typing import Any

import msgspec
from nacl.bindings import crypto_sign_open
from nacl.exceptions import CryptoError

from bombyx import canonical
from bombyx.attack.defence import Defence
from bombyx.attack.means.dialling import dialled
from bombyx.attack.means.liar import now_ms
from bombyx.attack.means.lure import DIAL_SECONDS, Lure, lured
from bombyx.attack.means.requests import Forger, sealing_key
from bombyx.attack.means.simulator import unix
from bombyx.attack.record import Role, Seen, attack, defeated, judged, succeeded
from bombyx.attack.target import Need, Target
from bombyx.envelope.header import hash_header
from bombyx.envelope.keys import PublicSealingKey
from bombyx.envelope.plaintext import PlaintextHead, pack
from bombyx.envelope.request import SealedRequest, auth_document, commitment, seal_frames
from bombyx.envelope.session import request_keys, session_info, wrap_session
from bombyx.link.documents import SessionStart
from bombyx.link.frames import LinkType
from bombyx.link.hello import Challenge, Hello, Identify
from bombyx.link.open import SessionKey
from bombyx.signing import Kind, message

SAY = "say: silk"
NEEDS = (Need.GATEWAY, Need.WORKER)


@attack(Role.GATEWAY, Defence.REPLAY_STORE, "refused: replayed", *NEEDS)
async def request_run_twice(target: Target) -> Seen:
    """Hands a worker the same request twice, to have two answers and two statements of it."""
    lure = await lured(target)
    sealed = await lure.seal(SAY)
    first = await lure.open(sealed)
    if not first.ran:
        raise ValueError(f"the honest request did not run: {first}")
    second = await lure.open(sealed)
    return judged(second.ran, str(second))


@attack(Role.GATEWAY, Defence.REPLAY_STORE, "refused: replayed", *NEEDS)
async def refused_request_run_later(target: Target) -> Seen:
    """Has a worker refuse a request, shows the client the refusal, and runs it all the same."""
    lure = await lured(target)
    sealed = await lure.seal(SAY)
    auth = bytes(64)
    broken = SealedRequest(
        sealed.header, sealed.c, auth, sealed.wraps, sealed.frames, sealed.response_secrets
    )
    first = await lure.open(broken)
    if first.refusal is None or first.refusal.refusal.c != sealed.c.hex():
        return defeated(f"the refusal proves nothing: {first}")
    second = await lure.open(sealed)
    return judged(second.ran, str(second))


@attack(Role.GATEWAY, Defence.FRESHNESS, "refused: clock_skew", *NEEDS)
async def request_kept_for_later(target: Target) -> Seen:
    """Keeps a request for an hour and hands it over when the worker has forgotten all of then."""
    lure = await lured(target)
    heard = await lure.open(await lure.seal(SAY, issued_at=unix() - 3600))
    return judged(heard.ran, str(heard))


@attack(Role.GATEWAY, Defence.MEANT_GATEWAY, "refused: wrong_gateway", *NEEDS)
async def request_of_another_gateways_user(target: Target) -> Seen:
    """Hands over a request that a user sealed for another gateway, to have it billed here."""
    lure = await lured(target)
    heard = await lure.open(await lure.seal(SAY, gateway="ab" * 32))
    return judged(heard.ran, str(heard))


@attack(Role.GATEWAY, Defence.FRESHNESS, "refused: request_timeout", *NEEDS)
async def deadline_already_past(target: Target) -> Seen:
    """Names a deadline in the past, so that the receipt will be late and the worker unpaid."""
    lure = await lured(target)
    heard = await lure.open(await lure.seal(SAY), deadline=unix() - 1)
    return judged(heard.ran, str(heard))


@attack(Role.GATEWAY, Defence.COMMITMENT, "refused: the wrap was made for another worker", *NEEDS)
async def wrap_of_another_worker(target: Target) -> Seen:
    """Hands a worker the bytes that were sealed to another one."""
    lure = await lured(target)
    own = await lure.seal(SAY)
    listed = await Forger(target).directory()
    forger = Forger(target)
    other = forger.seal(own.header, listed.workers[:1], forger.chat(SAY))
    heard = await lure.open(other)
    return judged(heard.ran, str(heard))


async def _in_session(
    lure: Lure, tier: str, counter: int, *, session: bytes, secret: bytes
) -> tuple[SealedRequest, SessionKey]:
    """A request under a session's keys."""
    listed, forger = await lure.listing(), Forger(lure.target)
    body = forger.chat(SAY)
    hashed = hash_header(forger.header(listed, listed.workers, body, tier=tier))
    keys = request_keys(secret, counter)
    packed = pack(PlaintextHead(content_type="application/json"), msgspec.json.encode(body))
    frames = seal_frames(keys.dek, hashed.h, packed)
    c = commitment(keys.dek, hashed.h, hashlib.sha256(frames).digest())
    auth = forger.payer.sign(Kind.REQUEST, auth_document(c))
    sealed = SealedRequest(hashed, c, auth, (bytes(1200),), frames, (keys.response_secret,))
    return sealed, SessionKey(session, counter)


async def _start_session(lure: Lure) -> tuple[bytes, bytes]:
    entry = await lure.entry()
    key: PublicSealingKey = sealing_key(entry)
    session, secret = os.urandom(16), os.urandom(32)
    info = session_info(
        canonical.digest(entry.keyset), bytes.fromhex(lure.identity.public_hex), session
    )
    start = SessionStart(
        session=session.hex(),
        key_id=entry.keyset.hpke[0].id,
        wrapped=wrap_session(key, secret, info).hex(),
    )
    await lure.say(LinkType.SESSION, canonical.encode(start))
    return session, secret


@attack(Role.GATEWAY, Defence.SESSION_SCOPE, "refused: sessions carry the bare tier only", *NEEDS)
async def session_poses_as_sealed(target: Target) -> Seen:
    """Runs a request that it can read under a header that says `sealed`."""
    lure = await lured(target)
    session, secret = await _start_session(lure)
    sealed, key = await _in_session(lure, "sealed", 0, session=session, secret=secret)
    heard = await lure.open(sealed, key=key)
    return judged(heard.ran, str(heard))


@attack(Role.GATEWAY, Defence.SESSION_SCOPE, "refused: the counter was used before", *NEEDS)
async def session_counter_reused(target: Target) -> Seen:
    """Uses a session's counter twice, so that two answers share one key stream."""
    lure = await lured(target)
    session, secret = await _start_session(lure)
    heard = []
    for _ in range(2):
        sealed, key = await _in_session(lure, "bare", 7, session=session, secret=secret)
        heard.append(await lure.open(sealed, key=key))
    if not heard[0].ran:
        raise ValueError(f"the honest request did not run: {heard[0]}")
    return judged(heard[1].ran, str(heard[1]))


async def _redial(lure: Lure) -> tuple[Hello, Challenge, Identify] | None:
    """Hang up; what the worker says to the challenge when it dials again, if anything."""
    await lure.entry()
    while not lure.identified.empty():
        lure.identified.get_nowait()
    while not lure.hangups.empty():
        lure.hangups.get_nowait()
    await lure.hang_up()
    identified = asyncio.create_task(lure.identified.get())
    hung_up = asyncio.create_task(lure.hangups.get())
    tasks: set[asyncio.Task[Any]] = {identified, hung_up}
    done, rest = await asyncio.wait(
        tasks, timeout=DIAL_SECONDS, return_when=asyncio.FIRST_COMPLETED
    )
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    if not done:
        raise TimeoutError("the worker did not dial again")
    return identified.result() if identified in done else None


@attack(
    Role.GATEWAY, Defence.SIGNATURE_KINDS, "the worker signs its own hello, never bytes of a peer",
    *NEEDS,
)  # fmt: skip
async def link_challenge_is_a_receipt(target: Target) -> Seen:
    """Challenges a worker with the digest of a receipt's batch as nonce, to have it signed."""
    lure = await lured(target)
    entry = await lure.entry()
    batch = {
        "boot": entry.keyset.boot,
        "gateway": lure.identity.public_hex,
        "root": "cd" * 32,
        "count": 1,
        "first_n": now_ms(),
    }
    digest = canonical.digest(batch)

    async def challenger(hello: Hello) -> Challenge:
        honest = await lure.honest(hello)
        terms = {
            "gateway": honest.gateway,
            "url": honest.url,
            "nonce_w": hello.nonce,
            "nonce_g": digest.hex(),
        }
        signature = lure.identity.sign(Kind.LINK_GATEWAY, terms).hex()
        return msgspec.structs.replace(honest, nonce=digest.hex(), signature=signature)

    lure.challenger = challenger
    word = await _redial(lure)
    lure.challenger = None
    if word is None:
        return defeated("the worker hung up at the challenge")
    signature = bytes.fromhex(word[2].signature)
    for key in (entry.keyset.receipt_key, entry.keyset.link_key):
        for covered in (digest, *(message(kind, batch) for kind in Kind)):
            with contextlib.suppress(CryptoError):
                crypto_sign_open(signature + covered, bytes.fromhex(key))
                return succeeded("the worker signed the receipt's batch")
    return defeated("the signature covers the worker's own hello alone")


@attack(
    Role.GATEWAY, Defence.LINK_HELLO, "the worker hangs up: another URL than the one dialled",
    *NEEDS,
)  # fmt: skip
async def hello_relayed_to_another_gateway(target: Target) -> Seen:
    """Carries a worker's hello to another gateway and back, to sit on that link in its place."""
    lure = await lured(target)
    await lure.entry()
    async with dialled(target) as wire:

        async def challenger(hello: Hello) -> Challenge:
            await wire.say(LinkType.HELLO, hello)
            return canonical.decode((await wire.hear()).payload, Challenge)

        lure.challenger = challenger
        word = await _redial(lure)
        lure.challenger = None
        if word is None:
            return defeated("the worker hung up at the challenge")
        await wire.say(LinkType.IDENTIFY, word[2])
        frame = await wire.hear()
        return judged(frame.type == LinkType.WELCOME, "the other gateway welcomed us as the worker")
