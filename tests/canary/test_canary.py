"""Content is nowhere but where it must be (DESIGN 2): canaries in prompt and answer, then a search.

Gateway, worker and sidecar are real processes. A canary of the prompt travels as it is; the one of
the answer is spelled in JSON escapes, so that only whoever decoded the prompt or opened the answer
can hold it in clear. While the answer streams, the gateway's memory and everything that gateway
and worker write is searched; the same search finds both canaries in worker and sidecar.
"""

import asyncio
import json
import secrets
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from tests.canary.scan import disguises, in_files, in_memory, in_text, patterns
from tests.chaos.processes import Process, free_port
from tests.chaos.site import SCRIPTED, Site, build_site

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/PID/mem")

PACE_MS = 40
MANY, FEW = 700, 20
"""Words of an answer that streams for as long as a search may take, and of one soon complete."""


@dataclass(frozen=True)
class Canaries:
    """What may not be found where it does not belong."""

    prompt: str
    answer: str

    def patterns(self) -> dict[str, bytes]:
        return patterns({"prompt": self.prompt, "answer": self.answer})


class Exchange:
    """One streamed request through the sidecar, read in the background."""

    def __init__(self, running: "Running", canaries: Canaries, *, words: int) -> None:
        self._url = running.sidecar.ready["url"]
        self._key = running.site.api_key
        self._body = _body(canaries, words)
        self._answer = canaries.answer.encode()
        self.seen = asyncio.Event()
        self.text = b""

    async def run(self) -> bytes:
        headers = {"authorization": f"Bearer {self._key}", "content-type": "application/json"}
        async with (
            httpx2.AsyncClient(trust_env=False, timeout=30) as http,
            http.stream(
                "POST", f"{self._url}/chat/completions", headers=headers, content=self._body
            ) as response,
        ):
            async for piece in response.aiter_bytes():
                self.text += piece
                if self._answer in self.text:
                    self.seen.set()
        return self.text


def _body(canaries: Canaries, words: int) -> bytes:
    said = f" {disguises(canaries.answer)['json escapes'].decode()}" * words
    content = f'"{canaries.prompt}\\npace: {PACE_MS}\\nsay:{said}"'
    body = (
        f'{{"model": "{SCRIPTED}", "stream": true, "stream_options": {{"include_usage": true}},'
        f' "messages": [{{"role": "user", "content": {content}}}]}}'
    )
    json.loads(body)
    return body.encode()


@dataclass
class Running:
    """The three processes."""

    site: Site
    sidecar: Process

    @property
    def gateway_pid(self) -> int:
        return self.site.gateway.pid

    @property
    def worker_pid(self) -> int:
        return self.site.workers[0].pid

    def written(self) -> list[Path]:
        """All that gateway and worker write, and what the sidecar logs."""
        site = self.site
        return [
            site.folder / "gateway-state",
            site.folder / site.workers[0].name,
            site.folder / "logs",
            site.folder / "tmp",
        ]

    async def metrics(self) -> bytes:
        async with httpx2.AsyncClient(trust_env=False) as http:
            answer = await http.get(f"{self.site.url}/metrics")
            assert answer.status_code == 200
            return answer.content


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    site = await build_site(tmp_path / "site", engines=(SCRIPTED,))
    sidecar = Process(
        "sidecar",
        [
            *("proxy", "--gateway", site.url, "--port", str(free_port())),
            *("--policy", str(site.folder / "policy.toml")),
            *("--state", str(site.folder / "sidecar-state")),
        ],
        site.folder,
    )
    try:
        await site.gateway.start()
        sidecar.launch()
        await site.workers[0].start()
        await sidecar.await_ready()
        yield Running(site, sidecar)
    finally:
        sidecar.destroy()
        site.destroy()


def _user_secrets(site: Site) -> dict[str, bytes]:
    """What only the user's side may know: raw and as hex."""
    found: dict[str, bytes] = {}
    for path in sorted((site.folder / "sidecar-state" / "client").iterdir()):
        text = path.read_text().strip()
        found |= {f"{path.name} as hex": text.encode(), f"{path.name} raw": bytes.fromhex(text)}
    assert len(found) == 4
    return found


@pytest.mark.spec("19-a", "4-b")
async def test_content_is_in_worker_and_sidecar_and_nowhere_else(running: Running) -> None:
    canaries = Canaries(f"Prompt{secrets.token_hex(12)}", f"Answer{secrets.token_hex(12)}")
    wanted = canaries.patterns()
    in_clear = {"prompt as utf-8", "answer as utf-8"}
    clear = {name: wanted[name] for name in in_clear}
    site = running.site
    exchange = Exchange(running, canaries, words=MANY)
    reading = asyncio.create_task(exchange.run())
    async with asyncio.timeout(20):
        await exchange.seen.wait()

    everywhere = {**wanted, **_user_secrets(site), "(control)": site.account.encode()}
    at_gateway = await asyncio.to_thread(in_memory, running.gateway_pid, everywhere)
    assert not reading.done(), "the answer must still stream"
    assert at_gateway == {"(control)"}
    assert in_files(running.written(), wanted) == set()
    assert in_text(await running.metrics(), wanted) == set()
    # The same search finds them where they belong.
    assert await asyncio.to_thread(in_memory, running.worker_pid, clear) == in_clear
    assert await asyncio.to_thread(in_memory, running.sidecar.pid, clear) == in_clear
    assert not reading.done(), "the answer must still stream"

    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)

    # And after answers that were broken off or came to their end.
    text = await Exchange(running, canaries, words=FEW).run()
    assert text.count(canaries.answer.encode()) == FEW
    assert b'"verified":true' in text
    assert text.endswith(b"data: [DONE]\n\n")
    at_gateway = await asyncio.to_thread(in_memory, running.gateway_pid, everywhere)
    assert at_gateway == {"(control)"}
    assert in_text(await running.metrics(), wanted) == set()
    for process in (*site.workers, site.gateway):
        assert await process.stop() == 0
    assert in_files(running.written(), wanted) == set()


async def test_api_keys_and_secret_keys_are_in_no_log_database_or_metric(running: Running) -> None:
    site = running.site
    assert b"[DONE]" in await Exchange(running, Canaries("hello", "there"), words=FEW).run()
    keys = patterns({"API key": site.api_key, "admin key": site.admin_key})
    wanted = {**keys, **_user_secrets(site)}
    # The cache secret is sealed to the worker (SPEC 12); who pays, and with which key, is not.
    unknown = {name: one for name, one in wanted.items() if not name.startswith("user-cache")}
    assert await asyncio.to_thread(in_memory, running.worker_pid, unknown) == set()
    assert in_text(await running.metrics(), wanted) == set()
    for process in (*site.workers, site.gateway):
        assert await process.stop() == 0
    folders = [*running.written(), site.folder / "sidecar-state"]
    elsewhere = {f"{name} in {name.partition(' ')[0]}" for name in _user_secrets(site)}
    assert in_files(folders, wanted) <= elsewhere
    assert in_files(running.written(), _gateway_secrets(site)) <= {
        f"{name} in {name}" for name in _gateway_secrets(site)
    }


def _gateway_secrets(site: Site) -> dict[str, bytes]:
    """The gateway's own keys as its files spell them; each belongs into its file alone."""
    folder = site.folder / "gateway-state" / "gateway"
    found = {path.name: path.read_text().strip().encode() for path in sorted(folder.iterdir())}
    assert set(found) == {"channel.key", "cluster.key", "identity.key", "payer.key"}
    return found


@pytest.mark.parametrize("name", sorted(disguises("x" * 9)))
def test_the_search_sees_through_every_disguise(name: str, tmp_path: Path) -> None:
    text = "Canary>0123456789?abc"
    (tmp_path / "file").write_bytes(b"before" + disguises(text)[name] + b"after")
    assert in_files([tmp_path], {"it": patterns({"it": text})[_spelled(name, text)]})


def _spelled(name: str, text: str) -> str:
    """Two disguises that are spelled alike are searched for once."""
    pattern = disguises(text)[name]
    return next(one for one, other in patterns({"it": text}).items() if other == pattern)
