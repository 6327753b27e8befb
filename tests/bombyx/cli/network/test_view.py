"""What `bombyx up` shows, read from a gateway that stands on a real socket."""

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from rich.console import Console

from bombyx.cli.network.books import Books
from bombyx.cli.network.fetching import MODEL_BYTES, size_of, watched
from bombyx.cli.network.snippet import curl_snippet, python_snippet
from bombyx.cli.network.supervisor import Supervisor
from bombyx.cli.network.view import SHOWN_RECEIPTS, Figures, Sum, dashboard
from bombyx.errors import GatewayUnreachable, RemoteError
from tests.bombyx.cli.network.stand_in import READY, STAY, recipe


class Gateway(BaseHTTPRequestHandler):
    """Answers by path; remembers which key came."""

    answers: ClassVar[dict[str, Any]] = {}
    keys: ClassVar[dict[str, str]] = {}

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        self.keys[path] = self.headers["authorization"]
        known = self.answers.get(f"{path}?cursor" if "cursor=" in query else path)
        body = json.dumps(known).encode()
        self.send_response(404 if known is None else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def books() -> Iterator[Books]:
    server = HTTPServer(("127.0.0.1", 0), Gateway)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    one = Books(f"http://127.0.0.1:{server.server_port}", api_key="mine", admin_key="admin")
    yield one
    one.close()
    server.shutdown()
    thread.join()
    server.server_close()


def entry(number: int, kind: str, txn: str = "aa") -> dict[str, Any]:
    return {"id": number, "kind": kind, "txn": txn, "account": "a", "amount_nano": "-3"}


def receipt(name: str) -> dict[str, Any]:
    tokens = {"prompt": 7, "completion": 5, "cached": 0, "reasoning": 0}
    statement = {"model": "m", "tokens": tokens, "charge_nano": "3"}
    return {"id": name, "state": "settled", "receipt": {"statement": statement}}


def channel(name: str) -> dict[str, Any]:
    amounts = {"deposited": "200000000", "charged": "1281", "claimed": "1000"}
    told = {f"{what}_nano": amount for what, amount in amounts.items()}
    return {"channel": name, "state": "open", **told}


def used(requests: int, prompt: int = 0, completion: int = 0, charge: int = 0) -> dict[str, Any]:
    row = {"requests": requests, "prompt_tokens": prompt, "completion_tokens": completion}
    return {"usage": [{**row, "charge_nano": str(charge)}], "next_cursor": None}


DAY = "2026-11-23"


def started(books: Books, *, newest: int = -1, before: int = 0) -> Figures:
    entries = [entry(newest, "charge")] if newest >= 0 else []
    Gateway.answers = {"/admin/v1/ledger": {"entries": entries}, "/admin/v1/usage": used(before)}
    figures = Figures(DAY)
    figures.begin(books)
    return figures


def test_only_what_was_used_since_the_start_is_counted(books: Books) -> None:
    figures = started(books, newest=3, before=10)
    entries = [entry(number, kind) for number, kind in ((5, "fee"), (4, "charge"), (3, "charge"))]
    Gateway.answers = {
        "/admin/v1/usage": used(11, 7, 5, 3),
        "/admin/v1/ledger": {"entries": entries},
        "/v1/receipts": receipt("0123456789abcdef"),
    }
    Gateway.keys.clear()
    figures.follow(books)
    figures.follow(books)
    assert figures.used == Sum(1, 7, 5, 3)
    assert [use.id for use in figures.last] == ["0123456789abcdef"]
    admin = ("/admin/v1/ledger", "/admin/v1/usage")
    assert Gateway.keys == dict.fromkeys(admin, "Bearer admin") | {"/v1/receipts": "Bearer mine"}


def test_what_comes_faster_than_one_looks_is_counted_all_the_same(books: Books) -> None:
    figures = started(books)
    Gateway.answers = {
        "/admin/v1/usage": used(1000, 7000, 5000, 3000),
        "/admin/v1/ledger": {"entries": [entry(2900 + n, "charge") for n in range(100)]},
        "/v1/receipts": receipt("0123456789abcdef"),
    }
    figures.follow(books)
    assert figures.used == Sum(1000, 7000, 5000, 3000)
    assert len(figures.last) == SHOWN_RECEIPTS


def test_usage_is_read_to_its_last_page(books: Books) -> None:
    figures = started(books)
    first = {**used(2, 1, 1, 1), "next_cursor": "more"}
    Gateway.answers["/admin/v1/usage"] = first
    Gateway.answers["/admin/v1/usage?cursor"] = used(3, 1, 1, 1)
    figures.follow(books)
    assert figures.used == Sum(5, 2, 2, 2)


def test_a_charge_without_a_receipt_of_ours_is_counted_and_not_shown(books: Books) -> None:
    figures = started(books)
    Gateway.answers = {
        "/admin/v1/usage": used(2),
        "/admin/v1/ledger": {"entries": [entry(1, "charge")]},
        "/v1/receipts": {"id": "x", "state": "settled"},
    }
    figures.follow(books)
    assert (figures.used.requests, list(figures.last)) == (2, [])
    del Gateway.answers["/v1/receipts"]  # of another account: 404
    Gateway.answers["/admin/v1/ledger"] = {"entries": [entry(2, "charge")]}
    figures.follow(books)
    Gateway.answers["/admin/v1/ledger"] = {"entries": [entry(3, "charge")]}
    Gateway.answers["/v1/receipts"] = receipt("0123456789abcdef")
    figures.follow(books)
    assert len(figures.last) == 1


def test_a_gateway_that_is_away_changes_nothing_and_is_asked_again(books: Books) -> None:
    Gateway.answers = {}
    figures = Figures(DAY)
    figures.begin(books)
    figures.follow(books)
    assert figures.used == Sum()
    Gateway.answers = {"/admin/v1/ledger": {"entries": []}, "/admin/v1/usage": used(4)}
    figures.follow(books)
    Gateway.answers["/admin/v1/usage"] = used(6)
    figures.follow(books)
    assert figures.used.requests == 2


def test_what_a_gateway_does_not_answer_is_told(books: Books) -> None:
    Gateway.answers = {"/v1/models": ["no", "object"]}
    with pytest.raises(RemoteError, match="no object"):
        books.models()
    with pytest.raises(RemoteError, match="answered 404"):
        books.ledger()
    away = Books("http://127.0.0.1:9", api_key="secret", admin_key="secret")
    with pytest.raises(GatewayUnreachable, match="ConnectError"):
        away.directory("m")
    away.close()
    assert "secret" not in repr(away)


def test_the_view_shows_processes_use_receipts_and_what_happened(
    tmp_path: Path, books: Books
) -> None:
    figures = started(books)
    Gateway.answers = {
        "/admin/v1/usage": used(1, 7, 5, 3),
        "/admin/v1/ledger": {"entries": [entry(1, "charge")]},
        "/v1/receipts": receipt("0123456789abcdef"),
        "/v1/channels": {"data": [channel("fedcba9876543210")]},
    }
    figures.follow(books)
    figures.look(books)
    supervisor = Supervisor(print)
    try:
        supervisor.start([recipe(tmp_path, "gateway", READY + STAY)])
        out = io.StringIO()
        console = Console(file=out, width=100)
        now = supervisor.posts[0].since + 12
        console.print(dashboard(supervisor.posts, figures, ["worker-1 ended"], now=now))
    finally:
        supervisor.stop()
    shown = out.getvalue()
    for text in ("gateway", "running", "12 s", "0123456789ab", "7 tokens in", "worker-1 ended"):
        assert text in shown
    for text in ("fedcba987654", "open", "200000000", "1281", "1000"):
        assert text in shown
    Gateway.answers = {}
    figures.look(books)
    assert [one.charged for one in figures.channels] == [1281]


def test_snippets_name_where_and_what() -> None:
    for snippet in (python_snippet, curl_snippet):
        text = snippet("http://127.0.0.1:1", api_key="key", model="m")
        assert "http://127.0.0.1:1/v1" in text
        assert "key" in text
    compile(python_snippet("http://127.0.0.1:1", api_key="key", model="m"), "snippet", "exec")


def test_the_bar_reads_what_lies_in_the_folder_and_clears_it(tmp_path: Path) -> None:
    with watched(tmp_path / "fetching") as watch:
        (tmp_path / "fetching" / "part").write_bytes(bytes(1000))
        assert size_of(tmp_path / "fetching") == 1000
        watch()
    assert list(tmp_path.iterdir()) == []
    assert MODEL_BYTES > 10**7
