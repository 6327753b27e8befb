"""A cheating client: wants answers that it does not pay for, or that another pays for (SPEC 2)."""

import dataclasses
import hashlib
import json
import os

import msgspec

from bombyx import canonical
from bombyx.attack.defence import Defence
from bombyx.attack.means.relay import split_answer
from bombyx.attack.means.requests import SEALED_STREAM, Forger, Reply, read_answer, sealing_key
from bombyx.attack.means.simulator import unix
from bombyx.attack.record import Role, Seen, attack, defeated, judged, succeeded
from bombyx.attack.target import Need, Target
from bombyx.attestation.directory import Entry
from bombyx.chat.body import encode_body
from bombyx.envelope.frames import FrameType
from bombyx.envelope.header import HashedHeader, hash_header
from bombyx.envelope.keys import wrap_info
from bombyx.envelope.plaintext import PlaintextHead, pack
from bombyx.envelope.request import SealedRequest, auth_document, commitment, seal_frames
from bombyx.errors import BombyxError
from bombyx.money.receipt import Receipt
from bombyx.signing import SEED_BYTES, Kind, Signer
from bombyx.signing import Role as KeyRole

OK = 200
SAY = "say: silk"
JSON_HEAD = PlaintextHead(content_type="application/json")


def answered(reply: Reply) -> Seen:
    """Whether a worker's engine made anything for us, as the clear receipt says."""
    made = produced(reply)
    return judged(made > 0, f"{reply}: {made} tokens were made" if made else str(reply))


def produced(reply: Reply) -> int:
    """Tokens of an answer by its last receipt; 0 where it holds a mere error, or is none."""
    if reply.status != OK or reply.headers.get("content-type") != SEALED_STREAM:
        return 0
    receipts = [one.body for one in split_answer(reply.body)[1] if one.type == FrameType.USAGE]
    if not receipts:
        return 0
    return msgspec.json.decode(receipts[-1], type=Receipt).statement.tokens.completion


@attack(Role.CLIENT, Defence.PAYER_AUTH, "422 with signed refusals: bad_auth", Need.GATEWAY)
async def payer_signature_wrong(target: Target) -> Seen:
    """Names somebody else's payer key in the header and signs with its own."""
    forger = Forger(target)
    listed = await forger.directory()
    entries, body = listed.workers[:1], forger.chat(SAY)
    thief = Signer(KeyRole.PAYER, os.urandom(SEED_BYTES))
    header = forger.header(listed, entries, body)
    return answered(await forger.post(forger.seal(header, entries, body, signer=thief).encode()))


@attack(
    Role.CLIENT, Defence.PAYER_AUTH, "403: this payer key belongs to another account",
    Need.GATEWAY, Need.SECOND_ACCOUNT,
)  # fmt: skip
async def payer_of_another_account(target: Target) -> Seen:
    """Uses, under its own API key, a payer key that another account has used before."""
    honest = Forger(target)
    first = await honest.post((await honest.sealed(SAY)).encode())
    if first.status != OK:
        raise ValueError(f"the honest request was not answered: {first}")
    thief = Forger(target, target.second_key, honest.payer)
    return answered(await thief.post((await thief.sealed(SAY)).encode()))


@attack(Role.CLIENT, Defence.CLAIMS, "409 c_conflict", Need.GATEWAY, Need.SECOND_ACCOUNT)
async def claim_spent_twice(target: Target) -> Seen:
    """Sends the bytes that another account has paid for under its own key, to get the answer."""
    honest = Forger(target)
    sealed = await honest.sealed(SAY)
    await honest.post(sealed.encode())
    thief = Forger(target, target.second_key)
    return answered(await thief.post(sealed.encode()))


@attack(Role.CLIENT, Defence.CLAIMS, "the kept answer, or 409; one charge", Need.GATEWAY)
async def same_bytes_again(target: Target) -> Seen:
    """Sends the same bytes again after the answer, to have them run once more for one claim."""
    forger = Forger(target)
    sealed = await forger.sealed(SAY)
    first = await forger.post(sealed.encode())
    second = await forger.post(sealed.encode())
    again = second.status == OK and second.body != first.body
    return judged(again, f"first {first.status}, then {second}")


def encode(sealed: SealedRequest, **changes: object) -> bytes:
    """The request's bytes after changes to its header, keys as they were."""
    header = msgspec.structs.replace(sealed.header.header, **changes)
    return dataclasses.replace(sealed, header=hash_header(header)).encode()


@attack(Role.CLIENT, Defence.COMMITMENT, "422: the wrap was made for another header", Need.GATEWAY)
async def header_altered_after_sealing(target: Target) -> Seen:
    """Halves the reserve in the header after sealing, to have more run than is paid for."""
    forger = Forger(target)
    sealed = await forger.sealed(SAY)
    cost = str(int(sealed.header.header.max_cost_nano) // 2)
    return answered(await forger.post(encode(sealed, max_cost_nano=cost)))


@attack(
    Role.CLIENT, Defence.COMMITMENT, "422: the commitment does not fit the request", Need.GATEWAY
)
async def body_swapped_under_commitment(target: Target) -> Seen:
    """Puts another body, sealed under the same key and header, behind a commitment already made."""
    forger = Forger(target)
    listed = await forger.directory()
    entry = listed.workers[0]
    hashed = hash_header(forger.header(listed, [entry], forger.chat(SAY)))
    dek, secret = os.urandom(32), os.urandom(32)
    shown, meant = (
        seal_frames(dek, hashed.h, pack(JSON_HEAD, encode_body(forger.chat(say))))
        for say in (SAY, "say: another")
    )
    c = commitment(dek, hashed.h, hashlib.sha256(shown).digest())
    info = wrap_info(keyset_bytes(entry), hashed.h, c)
    sealed = SealedRequest(
        header=hashed,
        c=c,
        auth=forger.payer.sign(Kind.REQUEST, auth_document(c)),
        wraps=(sealing_key(entry).wrap(dek + secret, info),),
        frames=meant,
        response_secrets=(secret,),
    )
    return answered(await forger.post(sealed.encode()))


def keyset_bytes(entry: Entry) -> bytes:
    """The worker's id as bytes."""
    return canonical.digest(entry.keyset)


@attack(Role.CLIENT, Defence.LIMITS, "422: cost_cap_exceeded", Need.GATEWAY)
async def max_cost_too_low(target: Target) -> Seen:
    """Reserves one nano and asks for an answer of a thousand words."""
    forger = Forger(target)
    sealed = await forger.sealed("count: 1000", max_cost_nano="1")
    return answered(await forger.post(sealed.encode()))


@attack(Role.CLIENT, Defence.LIMITS, "400: context_length_exceeded", Need.GATEWAY)
async def prompt_beyond_header(target: Target) -> Seen:
    """Promises a prompt of one token and sends a thousand words."""
    forger = Forger(target)
    sealed = await forger.sealed("silk " * 1000, max_input_tokens=1)
    return answered(await forger.post(sealed.encode()))


@attack(Role.CLIENT, Defence.LIMITS, "the engine stops at the header's limit", Need.GATEWAY)
async def answer_beyond_header(target: Target) -> Seen:
    """Names no limit in the body, so that the engine's own default exceeds what was reserved."""
    forger = Forger(target)
    sealed = await forger.sealed("count: 300", max_output_tokens=5)
    reply = await forger.post(sealed.encode())
    try:
        read = read_answer(sealed, reply.body)
    except BombyxError as error:
        return defeated(f"{reply}: {error.code}")
    return judged(" 9 " in _said(read.text), f"{len(_said(read.text))} characters of answer")


def _said(stream: str) -> str:
    """The words within the events of a streamed answer."""
    out = ""
    for line in stream.split("\n"):
        if line.startswith("data: {"):
            for choice in json.loads(line[6:]).get("choices") or []:
                out += (choice.get("delta") or {}).get("content") or ""
    return out


@attack(Role.CLIENT, Defence.LIMITS, "422 wrong_fee", Need.GATEWAY)
async def fee_lowered(target: Target) -> Seen:
    """Writes a fee of zero into the header."""
    forger = Forger(target)
    return answered(await forger.post((await forger.sealed(SAY, fee_bps=0)).encode()))


@attack(Role.CLIENT, Defence.OWN_DRAW, "422: no such offer", Need.GATEWAY)
async def offer_invented(target: Target) -> Seen:
    """Names an offer that no worker has made."""
    forger = Forger(target)
    listed = await forger.directory()
    entries, body = listed.workers[:1], forger.chat(SAY)
    honest = forger.header(listed, entries, body)
    cheap = [msgspec.structs.replace(one, offer="ab" * 32) for one in honest.candidates]
    header = msgspec.structs.replace(honest, candidates=cheap)
    return answered(await forger.post(forger.seal(header, entries, body).encode()))


@attack(Role.CLIENT, Defence.MEANT_GATEWAY, "400 wrong_gateway", Need.GATEWAY)
async def header_for_another_gateway(target: Target) -> Seen:
    """Sends a request whose header names another gateway, so that the receipt accuses that one."""
    forger = Forger(target)
    return answered(await forger.post((await forger.sealed(SAY, gateway="ab" * 32)).encode()))


@attack(Role.CLIENT, Defence.FRESHNESS, "400 clock_skew", Need.GATEWAY)
async def request_from_the_past(target: Target) -> Seen:
    """Sends a request made an hour ago, after every memory of it is gone."""
    forger = Forger(target)
    return answered(await forger.post((await forger.sealed(SAY, issued_at=unix() - 3600)).encode()))


@attack(Role.CLIENT, Defence.FRESHNESS, "400 clock_ahead", Need.GATEWAY)
async def request_from_the_future(target: Target) -> Seen:
    """Sends a request dated an hour ahead, which could be replayed once its memory is purged."""
    forger = Forger(target)
    return answered(await forger.post((await forger.sealed(SAY, issued_at=unix() + 3600)).encode()))


@attack(Role.CLIENT, Defence.SESSION_SCOPE, "400 malformed_header", Need.GATEWAY)
async def sealed_request_calls_itself_bare(target: Target) -> Seen:
    """Seals a request whose header says `bare`, to have the gateway accused of reading it."""
    forger = Forger(target)
    return answered(await forger.post((await forger.sealed(SAY, tier="bare")).encode()))


@attack(Role.CLIENT, Defence.CANONICAL, "400 malformed_header", Need.GATEWAY)
async def header_with_two_readings(target: Target) -> Seen:
    """Names `max_cost_nano` twice, so that gateway and worker could read different limits."""
    forger = Forger(target)
    listed = await forger.directory()
    entries, body = listed.workers[:1], forger.chat(SAY)
    header = forger.header(listed, entries, body)
    raw = canonical.encode(header)[:-1] + b',"max_cost_nano":"%s"}' % header.max_cost_nano.encode()
    hashed = HashedHeader(header, raw, hashlib.sha256(raw).digest())
    return answered(await forger.post(forger.seal(hashed, entries, body).encode()))


@attack(Role.CLIENT, Defence.BODY_MATCHES, "400 invalid_json", Need.GATEWAY)
async def body_with_two_readings(target: Target) -> Seen:
    """Names `max_tokens` twice in the body, so that worker and engine could read different ones."""
    forger = Forger(target)
    listed = await forger.directory()
    entries, body = listed.workers[:1], forger.chat(SAY)
    raw = msgspec.json.encode(body)[:-1] + b',"max_tokens":1,"max_tokens":2}'
    header = forger.header(listed, entries, body)
    return answered(await forger.post(forger.seal(header, entries, raw).encode()))


@attack(Role.CLIENT, Defence.BODY_MATCHES, "400 header_mismatch", Need.GATEWAY)
async def body_differs_from_header(target: Target) -> Seen:
    """Declares a whole answer in the header and asks for a stream in the body."""
    forger = Forger(target)
    listed = await forger.directory()
    entries, body = listed.workers[:1], forger.chat(SAY)
    header = forger.header(listed, entries, body, stream=False)
    return answered(await forger.post(forger.seal(header, entries, body).encode()))


@attack(Role.CLIENT, Defence.BODY_MATCHES, "400 unsupported: only data URLs", Need.GATEWAY)
async def engine_made_to_fetch(target: Target) -> Seen:
    """Sends an image by URL, so that the engine reaches into the worker owner's network."""
    forger = Forger(target)
    listed = await forger.directory()
    entries = listed.workers[:1]
    image = {"type": "image_url", "image_url": {"url": target.gateway + "/healthz"}}
    text = {"type": "text", "text": SAY}
    body = forger.chat("")
    body["messages"] = [{"role": "user", "content": [text, image]}]
    header = forger.header(listed, entries, body)
    return answered(await forger.post(forger.seal(header, entries, body).encode()))


@attack(Role.CLIENT, Defence.FAIR_BLAME, "signed refusals that blame no worker", Need.GATEWAY)
async def workers_blamed_for_garbage(target: Target) -> Seen:
    """Sends wraps that open for nobody, so that refusals count against honest workers."""
    forger = Forger(target)
    listed = await forger.directory()
    entries, body = listed.workers[:2], forger.chat(SAY)
    sealed = forger.seal(forger.header(listed, entries, body), entries, body)
    garbage = tuple(os.urandom(len(wrap)) for wrap in sealed.wraps)
    reply = await forger.post(dataclasses.replace(sealed, wraps=garbage).encode())
    faults = sorted({one["refusal"]["fault"] for one in reply.json().get("refusals", [])})
    if not faults:
        raise ValueError(f"no worker refused: {reply}")
    return judged(bool({"worker", "gateway"} & set(faults)), f"{reply}, faults {faults}")


@attack(Role.CLIENT, Defence.CLAIMS, "the one good worker answers and is billed once", Need.GATEWAY)
async def garbage_for_all_but_one(target: Target) -> Seen:
    """Spoils every wrap but the last, so that the others work and the claim is charged twice."""
    forger = Forger(target)
    listed = await forger.directory()
    entries, body = listed.workers[:2], forger.chat(SAY)
    sealed = forger.seal(forger.header(listed, entries, body), entries, body)
    wraps = (*(os.urandom(len(wrap)) for wrap in sealed.wraps[:-1]), sealed.wraps[-1])
    reply = await forger.post(dataclasses.replace(sealed, wraps=wraps).encode())
    if reply.status != OK:
        return defeated(str(reply))
    read = read_answer(sealed, reply.body)
    settled = await forger.settled(sealed.c)
    charge = read.receipt.statement.charge_nano if read.receipt else "0"
    if settled.get("charge_nano") == charge:
        return defeated(f"answered by the good worker, charged {charge} nano once")
    return succeeded(f"charged {settled.get('charge_nano')} nano for {charge}")


@attack(Role.CLIENT, Defence.ACCESS, "401", Need.GATEWAY)
async def no_valid_key(target: Target) -> Seen:
    """Sends an honest sealed request under an API key that it made up."""
    sealed = await Forger(target).sealed(SAY)
    return answered(await Forger(target, "bx_live_" + "A" * 43).post(sealed.encode()))


@attack(
    Role.CLIENT, Defence.ACCESS, "404: there is no such receipt", Need.GATEWAY, Need.SECOND_ACCOUNT
)
async def receipt_of_another_account(target: Target) -> Seen:
    """Asks for the receipt of another account's request by its commitment."""
    forger = Forger(target)
    sealed = await forger.sealed(SAY)
    await forger.post(sealed.encode())
    seen = await Forger(target, target.second_key).outcome(sealed.c)
    return judged(bool(seen), f"state {seen.get('state')}" if seen else "404")


@attack(Role.CLIENT, Defence.ACCESS, "403: this needs an admin key", Need.GATEWAY)
async def books_with_a_users_key(target: Target) -> Seen:
    """Reads the whole ledger with an ordinary API key."""
    reply = await Forger(target).get("/admin/v1/ledger?limit=1")
    return judged(reply.status == OK, str(reply))


@attack(Role.CLIENT, Defence.CLAIMS, "402 insufficient_quota", Need.GATEWAY)
async def spending_beyond_balance(target: Target) -> Seen:
    """Reserves more than the account has, and hopes that a little answer slips through."""
    forger = Forger(target)
    sealed = await forger.sealed(SAY, max_cost_nano=str(10**17))
    return answered(await forger.post(sealed.encode()))


@attack(Role.CLIENT, Defence.CACHE_SALT, "no token of the guess was cached", Need.GATEWAY)
async def prompt_guessed_through_cache(target: Target) -> Seen:
    """Guesses another payer's prompt and looks in its own bill whether it was cached."""
    return await _guess(target, same_payer=False)


@attack(Role.CLIENT, Defence.CACHE_SALT, "no token of the guess was cached", Need.GATEWAY)
async def colleagues_prompt_guessed_through_cache(target: Target) -> Seen:
    """Guesses the prompt of another user of the same payer key."""
    return await _guess(target, same_payer=True)


async def _guess(target: Target, *, same_payer: bool) -> Seen:
    victim = Forger(target)
    thief = Forger(target, payer=victim.payer) if same_payer else Forger(target)
    secrets = [os.urandom(32).hex(), os.urandom(32).hex()]
    prompt = f"{os.urandom(4).hex()} " + "silk " * 400
    # As its own control the victim asks twice: its own prefix may be cached.
    for one, secret in ((victim, secrets[0]), (victim, secrets[0]), (thief, secrets[1])):
        cached = await _cached(one, prompt, secret)
    return judged(cached > 0, f"{cached} cached tokens in the bill of the guess")


async def _cached(forger: Forger, prompt: str, secret: str) -> int:
    listed = await forger.directory()
    # Always the same worker, since each has a cache of its own.
    entries = sorted(listed.workers, key=lambda entry: entry.keyset.boot)[:1]
    body = forger.chat(prompt, max_tokens=4)
    header = forger.header(listed, entries, body)
    sealed = forger.seal(header, entries, body, cache_secret=secret)
    reply = await forger.post(sealed.encode())
    read = read_answer(sealed, reply.body)
    if read.receipt is None:
        raise ValueError(f"the request was not answered: {reply}")
    return read.receipt.statement.tokens.cached
