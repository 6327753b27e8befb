"""Policies, identities and secrets on disk: safe, or refused with a sentence."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import httpx2
import pytest

import bombyx
from bombyx.attestation.policy import render_policy
from bombyx.client import opening
from bombyx.client.identity import Identity
from bombyx.client.opening import ForgetfulIdentity, load_identity, read_policy
from bombyx.client.secret_files import load_or_create_secret, read_secret
from bombyx.client.transcripts import TranscriptsKept
from bombyx.errors import PolicyError, SetupError
from tests.bombyx.client.peer import policy
from tests.factories import hex_of, seed


@pytest.fixture(autouse=True)
def _own_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("BOMBYX_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("BOMBYX_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def policy_file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(render_policy(policy()), encoding="utf-8")
    return path


def test_without_a_policy_the_error_names_both_ways_to_get_one() -> None:
    with pytest.raises(PolicyError) as caught:
        bombyx.http_client()
    assert "policy=" in caught.value.message
    assert "BOMBYX_CLIENT_POLICY" in caught.value.message
    assert "bombyx up" in caught.value.message


def test_a_policy_comes_as_value_file_or_setting(
    policy_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for source in (policy(), policy_file, str(policy_file)):
        bombyx.http_client(policy=source).close()
    monkeypatch.setenv("BOMBYX_CLIENT_POLICY", str(policy_file))
    bombyx.http_client().close()


async def test_every_sdk_gets_a_client_of_its_own_library() -> None:
    with bombyx.http_client(policy=policy()) as new, bombyx.httpx_client(policy=policy()) as old:
        assert isinstance(new, httpx2.Client)
        assert isinstance(old, httpx.Client)
        assert new.timeout.read == old.timeout.read == 600
        assert new.timeout.connect == old.timeout.connect == 5
    async with (
        bombyx.async_http_client(policy=policy()) as new_async,
        bombyx.async_httpx_client(policy=policy()) as old_async,
    ):
        assert isinstance(new_async, httpx2.AsyncClient)
        assert isinstance(old_async, httpx.AsyncClient)


def test_a_transport_stands_in_for_the_network() -> None:
    def refuse(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(401, json={"error": {"message": "no key", "code": "x"}})

    with bombyx.http_client(policy=policy(), transport=httpx2.MockTransport(refuse)) as client:
        answer = client.post("https://g/v1/chat/completions", json={"model": "m"})
    assert (answer.status_code, answer.json()["error"]["message"]) == (401, "no key")


@pytest.mark.parametrize("text", [b"\xff", b"version = ", b"version = 2", b"x" * (2**20 + 1)])
def test_a_policy_that_is_none_is_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "policy.toml"
    path.write_bytes(text)
    with pytest.raises(PolicyError, match="policy"):
        read_policy(path)


def test_a_policy_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot be read"):
        read_policy(tmp_path / "none.toml")


def test_httpx_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    monkeypatch.delitem(sys.modules, "bombyx.client.transport_httpx", raising=False)
    monkeypatch.delattr("bombyx.client.transport_httpx", raising=False)
    with pytest.raises(SetupError, match=r"bombyx\[httpx\]"):
        bombyx.httpx_client(policy=policy())


def test_importing_the_package_brings_no_http_client() -> None:
    code = "import bombyx, sys; dir(bombyx); bombyx.Policy; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = done.stdout.split()
    assert "bombyx.attestation.policy" in loaded
    assert not {"httpx", "httpx2", "aiohttp", "pydantic"} & set(loaded)
    with pytest.raises(AttributeError):
        _ = bombyx.no_such_name
    assert "http_client" in dir(bombyx)


@pytest.mark.spec("12-c")
def test_an_identity_is_made_once_and_kept_private(tmp_path: Path) -> None:
    place = tmp_path / "client"
    first, second = load_identity(place), load_identity(place)
    assert (first.payer_root, first.cache_secret) == (second.payer_root, second.cache_secret)
    assert first.payer_root != first.cache_secret
    assert [stat.S_IMODE(path.stat().st_mode) for path in place.iterdir()] == [0o600, 0o600]
    assert sorted(path.name for path in place.iterdir()) == ["payer.key", "user-cache.secret"]


def test_a_team_may_share_the_cache_secret_alone(tmp_path: Path) -> None:
    shared = load_identity(tmp_path, cache_secret=seed("team"))
    assert shared.cache_secret == seed("team")
    assert [path.name for path in tmp_path.iterdir()] == ["payer.key"]


def test_payer_keys_differ_by_gateway_and_api_key() -> None:
    identity = Identity(seed("root"), seed("cache"))
    keys = {
        identity.payer(gateway, key).public_hex
        for gateway in (hex_of("g1"), hex_of("g2"))
        for key in ("Bearer a", "Bearer b")
    }
    assert len(keys) == 4
    assert "root" not in repr(identity)
    with pytest.raises(ValueError, match="32"):
        Identity(b"short", seed("cache"))


def test_a_directory_that_cannot_be_written_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(ForgetfulIdentity, match="forgotten"):
        identity = load_identity(tmp_path / "file" / "client")
    assert len(identity.payer_root) == 32


@pytest.mark.parametrize("text", ["zz" * 32, "ab" * 31, "äö", "", "a" * 5000])
def test_a_file_with_something_else_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / opening.PAYER_FILE
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises(SetupError, match=r"payer\.key"):
        load_identity(tmp_path)


@pytest.mark.spec("12-c")
def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("ab" * 32)
    path.chmod(0o640)
    with pytest.raises(SetupError, match="chmod 600"):
        read_secret(path)


def test_a_secret_is_never_read_through_a_link_or_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("ab" * 32)
    (tmp_path / "real").chmod(0o600)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "folder").mkdir()
    for name in ("link", "folder"):
        with pytest.raises(SetupError):
            load_or_create_secret(tmp_path / name)


def test_a_secret_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_or_create_secret(tmp_path / "secret")
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(SetupError, match="another user"):
        read_secret(tmp_path / "secret")


def test_of_two_processes_one_makes_the_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    link = os.link

    def lose(source: Path, target: Path) -> None:
        target.write_text("ab" * 32)
        target.chmod(0o600)
        link(source, target)

    monkeypatch.setattr(os, "link", lose)
    assert load_or_create_secret(path) == "ab" * 32
    assert [one.name for one in tmp_path.iterdir()] == ["secret"]


def test_what_is_given_up_by_choice_is_warned_of(
    policy_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.warns(opening.ExactPadding, match="length of every token"):
        bombyx.http_client(policy=policy_file, padding="exact").close()
    with pytest.warns(TranscriptsKept, match="in clear"):
        bombyx.http_client(policy=policy_file, save_transcripts=tmp_path / "kept").close()
    assert not (tmp_path / "kept").exists()  # until there is an answer
    monkeypatch.setenv("BOMBYX_CLIENT_PADDING", "exact")
    with pytest.warns(opening.ExactPadding):
        bombyx.http_client(policy=policy_file).close()
    bombyx.http_client(policy=policy_file, padding="bucket").close()


def test_an_unknown_padding_is_refused(policy_file: Path) -> None:
    with pytest.raises(SetupError, match="padding"):
        bombyx.http_client(policy=policy_file, padding="none")  # type: ignore[arg-type]
