"""SPEC 4 across boots, with real processes: what was recorded of one opens nothing at the next.

The gateway here is the attacker: it has every byte that it ever carried, and may change them.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from bombyx import canonical
from bombyx.envelope.header import Candidate, hash_header
from bombyx.envelope.keys import PublicSealingKey, decode_public_key
from bombyx.envelope.request import SealedRequest
from bombyx.envelope.session import session_info, wrap_session
from bombyx.link.documents import SessionStart
from bombyx.link.frames import LinkType
from bombyx.link.open import Open, SessionKey
from bombyx.money.offer import offer_hash
from tests.factories import seed
from tests.worker.peer import GatewayPeer, PeerLink, unix
from tests.worker.sealing import GATEWAY, chat, make_open, open_answer, seal
from tests.worker.test_cli import start

SESSION = seed("session id", 16)
KEYS = ("boot", "receipt_key", "link_key")


@asynccontextmanager
async def worker_process(gateway: GatewayPeer, state: Path) -> AsyncIterator[None]:
    """One life of a worker, ended as a power cut would."""
    flags = ("--gateway", gateway.url, "--engine", "scripted", "--state", str(state))
    process = await start(*flags)
    try:
        yield
    finally:
        process.kill()
        await process.communicate()
        await asyncio.sleep(0.01)  # its transport closes in the loop's next turns


async def refused(link: PeerLink, request: Open, frames: bytes) -> str:
    """The code with which a worker refuses; a statement or data would be a second run."""
    stream = await (await link.open(request, frames)).over(10)
    assert not stream.data
    assert stream.refusal is not None
    return stream.refusal.refusal.code


def renamed(sealed: SealedRequest, link: PeerLink) -> Open:
    """The old bytes under a header that names the new boot."""
    header = structs.replace(sealed.header.header, candidates=[_candidate(link)])
    return replace(make_open(sealed, now=unix()), header=hash_header(header).raw)


def as_it_was(sealed: SealedRequest, _: PeerLink) -> Open:
    return make_open(sealed, now=unix())


def under_an_old_session(sealed: SealedRequest, link: PeerLink) -> Open:
    bare = structs.replace(sealed.header.header, tier="bare")
    header = hash_header(structs.replace(bare, candidates=[_candidate(link)])).raw
    return replace(make_open(sealed, now=unix()), header=header, key=SessionKey(SESSION, 0))


def _candidate(link: PeerLink) -> Candidate:
    (offer,) = link.listing.offers
    return Candidate(
        worker=link.listing.worker,
        key_id=link.listing.keyset.hpke[0].id,
        offer=offer_hash(offer.offer),
    )


REPLAYS: dict[str, tuple[Callable[[SealedRequest, PeerLink], Open], str]] = {
    "as it was": (as_it_was, "no_candidate"),
    "under the new boot's name": (renamed, "cannot_open"),
    "under a session of the earlier boot": (under_an_old_session, "cannot_open"),
}


@pytest.mark.spec("4-g")
async def test_nothing_recorded_of_an_earlier_boot_runs_at_the_next(
    gateway: GatewayPeer, tmp_path: Path
) -> None:
    async with worker_process(gateway, tmp_path):
        first = await gateway.link(seconds=20)
        sealed = seal(first.listing, chat("say: once"), now=unix())
        done = await (await first.ask(sealed)).over()
        assert open_answer(sealed, first.listing, bytes(done.data)).text == "once"
        # The same boot knows the commitment.
        assert await refused(first, make_open(sealed, now=unix()), sealed.frames) == "replayed"
        key = PublicSealingKey.from_bytes(decode_public_key(first.listing.keyset.hpke[0].pk))
        info = session_info(bytes.fromhex(first.listing.worker), GATEWAY.public_key, SESSION)
        session = SessionStart(
            session=SESSION.hex(),
            key_id=first.listing.keyset.hpke[0].id,
            wrapped=wrap_session(key, seed("session"), info).hex(),
        )
        await first.say(LinkType.SESSION, canonical.encode(session))
    async with worker_process(gateway, tmp_path):
        second = await gateway.link(1, seconds=20)
        old, new = first.listing.keyset, second.listing.keyset
        assert first.listing.worker != second.listing.worker
        assert old.hpke[0].pk != new.hpke[0].pk
        for name in KEYS:
            assert getattr(old, name) != getattr(new, name)
        for change, code in REPLAYS.values():
            assert await refused(second, change(sealed, second), sealed.frames) == code
        # And the new boot serves: it was not the bytes alone that it would not take.
        again = seal(second.listing, chat("say: anew"), now=unix())
        answer = await (await second.ask(again)).over()
        assert open_answer(again, second.listing, bytes(answer.data)).text == "anew"
    # What passes from boot to boot is the journal, which signs nothing and opens nothing.
    assert kept_files(tmp_path) <= {"worker-journal", "simulated-root"}


def kept_files(state: Path) -> set[str]:
    return {path.name.partition(".")[0] for path in state.rglob("*") if path.is_file()}


@pytest.mark.spec("4-j")
async def test_a_process_tells_a_client_how_wrong_its_clock_is(
    gateway: GatewayPeer, tmp_path: Path
) -> None:
    async with worker_process(gateway, tmp_path):
        link = await gateway.link(seconds=20)
        for seconds, where in ((-4000, "s ago"), (4000, "s in the future")):
            sealed = seal(link.listing, chat("say: late"), now=unix() + seconds)
            stream = await (await link.open(make_open(sealed, now=unix()), sealed.frames)).over(10)
            assert stream.refusal is not None
            message = str(stream.refusal.message)
            assert f"{where} by our clock" in message
            assert "set the clock right" in message
