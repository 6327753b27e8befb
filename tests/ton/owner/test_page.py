"""The owner's page: for whoever has its address, from this machine alone, and safe to look at."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from bombyx.errors import SetupError
from tests.ton.owner.samples import AT, ORIGIN, counts, document, sight, standing
from ton.owner.page.serving import CSP, DATA, HOST, Fresh, Server
from ton.owner.status.document import owner_document

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
EVIL = "<img src=x onerror=document.title='caught'>"


def told(**changes: Any) -> dict[str, object]:
    hours = [counts(back, requests=back + 1) for back in range(30)]
    seen = sight(document=document(hours=hours), standings={ORIGIN: standing(), "https://b": EVIL})
    return {**owner_document([seen], at=AT), **changes}


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(told, port=0, now=lambda: 0.0) as one:
        thread = threading.Thread(target=one.serve_forever, args=(0.01,))
        thread.start()
        yield one
        one.shutdown()
        thread.join()


def get(server: Server, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = HTTPConnection(HOST, server.own_port(), timeout=5)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, named, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("name", ["", "page.css", "page.js", "icon.svg", DATA, f"{DATA}?x=1"])
def test_everything_comes_from_here_and_nothing_may_from_elsewhere(
    server: Server, name: str
) -> None:
    status, headers, body = get(server, f"/{server.token}/{name}")
    assert (status, headers["content-security-policy"]) == (200, CSP)
    assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
    assert headers["referrer-policy"] == "no-referrer"
    assert body
    if name != DATA:
        outside = re.findall(rb"https?://(?!www\.w3\.org/2000/svg)[^\s\"']+", body)
        assert outside == [] or name.startswith(DATA)


@pytest.mark.parametrize(
    "path", ["/", "/page.js", "/{token}", "/wrong/", "/{token}/../", "/{token}/nothing", "/%00/"]
)
def test_without_the_token_there_is_nothing(server: Server, path: str) -> None:
    status, headers, body = get(server, path.format(token=server.token))
    assert (status, body) == (404, b"")
    assert headers["content-security-policy"] == CSP


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", ""])
def test_a_name_that_was_made_to_point_here_is_served_nothing(server: Server, host: str) -> None:
    assert get(server, f"/{server.token}/", Host=host)[0] == 404


def test_other_methods_are_refused(server: Server) -> None:
    connection = HTTPConnection(HOST, server.own_port(), timeout=5)
    connection.request("POST", f"/{server.token}/", body=b"{}")
    assert connection.getresponse().status == 501
    connection.close()


def test_many_tabs_look_once_a_second() -> None:
    looks, times = [0], iter([0.0, 0.0, 0.5, 1.5, 1.5])

    def look() -> dict[str, object]:
        looks[0] += 1
        return {"looks": looks[0]}

    fresh = Fresh(look, lambda: next(times))
    assert [fresh.body() for _ in range(3)] == [b'{"looks":1}', b'{"looks":1}', b'{"looks":2}']


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SetupError("ftp://g is no gateway"), (503, b'{"error": "ftp://g is no gateway"}')),
        (ValueError("content"), (500, b'{"error": "an unforeseen ValueError"}')),
    ],
)
def test_what_cannot_be_looked_at_is_said_in_a_sentence(
    error: Exception, said: tuple[int, bytes]
) -> None:
    def fail() -> dict[str, object]:
        raise error

    with Server(fail, port=0, now=lambda: 0.0) as one:
        thread = threading.Thread(target=one.serve_forever, args=(0.01,))
        thread.start()
        status, _, body = get(one, f"/{one.token}/{DATA}")
        one.shutdown()
        thread.join()
    assert (status, body) == said


def test_a_taken_port_is_said_in_a_sentence(server: Server) -> None:
    with pytest.raises(SetupError, match="cannot be used"):
        Server(told, port=server.own_port(), now=lambda: 0.0)


def chromium() -> str:
    """The browser of this machine; a machine of CI must have one."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        if "CI" in os.environ:
            pytest.fail("Chromium must be there where CI is set")
        pytest.skip("no Chromium on the PATH")
    return found


def test_a_browser_shows_it_and_runs_nothing_that_a_gateway_says(
    server: Server, tmp_path: Path
) -> None:
    done = subprocess.run(
        [
            *(chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", "--disable-sync", "--enable-logging=stderr"),
            *(f"--user-data-dir={tmp_path}", "--virtual-time-budget=3000", "--dump-dom"),
            server.url,
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    page = done.stdout
    assert "<title>Bombyx: my workers</title>" in page
    assert "Workers that serve" in page
    assert "1 of 1" in page
    assert page.count("<rect") == 3 * 24
    assert EVIL not in page
    assert EVIL.replace("<", "&lt;").replace(">", "&gt;") in page
    assert "No news" not in page
    assert "CONSOLE" not in done.stderr, done.stderr


def test_the_command_says_where_the_page_is_and_ends_when_told(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", "from bombyx.cli.main import run; run()"),
            *("owner", "page", "--state", str(tmp_path), "--json"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{22}/", url)
        with urllib.request.urlopen(url + DATA, timeout=5) as answer:
            (worker,) = json.load(answer)["workers"]
        assert worker["problems"][0]["code"] == "not_running"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
    finally:
        process.kill()
        _, err = process.communicate()
    assert url.split("/")[3] not in err
