"""Which of flag, environment, file and default wins, and what refuses."""

from pathlib import Path

import pytest
from pydantic import Field, SecretStr

from bombyx.errors import SetupError
from bombyx.settings import RoleSettings, find_config, load_settings, state_directory
from gateway.settings import GatewaySettings


class Gateway(RoleSettings):
    """A role with one setting of each kind."""

    port: int = Field(default=8080, ge=0, le=65535)
    peers: tuple[str, ...] = ()
    admin_key: SecretStr | None = None


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "bombyx.toml"
    path.write_text('[gateway]\nport = 1\npeers = ["a"]\n[worker]\nanything = 1\n')
    return path


def load(
    path: Path | None = None,
    *,
    flags: dict[str, object] | None = None,
    environ: dict[str, str] | None = None,
) -> tuple[Gateway, dict[str, str]]:
    settings, origins = load_settings(Gateway, "gateway", flags, config=path, environ=environ or {})
    return settings, {name: str(origin) for name, origin in origins.items()}


@pytest.fixture(autouse=True)
def _an_empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg-state"))


def test_without_anything_the_defaults_hold() -> None:
    settings, origins = load()
    assert (settings.port, settings.peers, settings.admin_key) == (8080, (), None)
    assert set(origins.values()) == {"default"}


def test_the_file_beats_the_default(toml: Path) -> None:
    settings, origins = load(toml)
    assert (settings.port, settings.peers) == (1, ("a",))
    assert origins == {
        "port": f"file {toml}",
        "peers": f"file {toml}",
        "admin_key": "default",
    }


def test_the_environment_beats_the_file(toml: Path) -> None:
    environ = {"BOMBYX_GATEWAY_PORT": "2", "BOMBYX_GATEWAY_PEERS": '["b", "c"]'}
    settings, origins = load(toml, environ=environ)
    assert (settings.port, settings.peers) == (2, ("b", "c"))
    assert origins["port"] == "environment BOMBYX_GATEWAY_PORT"


def test_a_flag_beats_the_environment(toml: Path) -> None:
    settings, origins = load(toml, flags={"port": 3}, environ={"BOMBYX_GATEWAY_PORT": "2"})
    assert settings.port == 3
    assert origins["port"] == "flag --port"


def test_a_flag_that_was_not_given_beats_nothing(toml: Path) -> None:
    settings, _ = load(toml, flags={"port": None})
    assert settings.port == 1


def test_zero_and_empty_flags_count_as_given(toml: Path) -> None:
    settings, _ = load(toml, flags={"port": 0, "peers": []})
    assert (settings.port, settings.peers) == (0, ())


def test_a_secret_may_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hush\n")
    variable = "BOMBYX_GATEWAY_ADMIN_KEY_FILE"
    settings, origins = load(environ={variable: str(tmp_path / "key")})
    assert settings.admin_key is not None
    assert settings.admin_key.get_secret_value() == "hush"
    assert origins["admin_key"] == f"environment {variable}"
    assert "hush" not in repr(settings)


def test_a_secret_given_twice_refuses(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hush")
    environ = {
        "BOMBYX_GATEWAY_ADMIN_KEY": "other",
        "BOMBYX_GATEWAY_ADMIN_KEY_FILE": str(tmp_path / "key"),
    }
    with pytest.raises(SetupError, match="both set"):
        load(environ=environ)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "cannot be read"), (b"x" * 65537, "larger than"), (b"\xff", "not UTF-8")],
)
def test_a_secret_file_that_is_none_refuses(
    tmp_path: Path, content: bytes | None, sentence: str
) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(SetupError, match=sentence):
        load(environ={"BOMBYX_GATEWAY_ADMIN_KEY_FILE": str(tmp_path / "key")})


def test_an_address_with_a_password_may_be_a_file_too(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://name:hush@db/bombyx\n")
    environ = {"BOMBYX_GATEWAY_DATABASE_URL_FILE": str(tmp_path / "url")}
    settings, _ = load_settings(GatewaySettings, "gateway", environ=environ)
    assert settings.database_url == "postgresql://name:hush@db/bombyx"


def test_only_secrets_may_be_files(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no setting BOMBYX_GATEWAY_PORT_FILE"):
        load(environ={"BOMBYX_GATEWAY_PORT_FILE": str(tmp_path)})


def test_an_unknown_variable_of_the_role_refuses_with_the_near_miss() -> None:
    with pytest.raises(SetupError, match='did you mean "BOMBYX_GATEWAY_PORT"'):
        load(environ={"BOMBYX_GATEWAY_PROT": "1"})


def test_variables_of_other_roles_are_left_to_them() -> None:
    assert load(environ={"BOMBYX_WORKER_NONSENSE": "1"})[0].port == 8080


def test_a_list_that_is_no_json_refuses_by_name() -> None:
    with pytest.raises(SetupError, match="BOMBYX_GATEWAY_PEERS must be JSON"):
        load(environ={"BOMBYX_GATEWAY_PEERS": "a,b"})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[gateway]\nprot = 1", r'\[gateway\] has no setting "prot" \(did you mean "port"\?\)'),
        ("[gatway]\nport = 1", r'no section \[gatway\] \(did you mean "gateway"\?\)'),
        ("[zzz]", r"no section \[zzz\]$"),
        ("gateway = 1", "must be a table"),
        ("[gateway", "is not TOML"),
        ("# \udcff", "is not UTF-8"),
    ],
)
def test_a_wrong_file_refuses(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(SetupError, match=sentence):
        load(path)


def test_an_unreadable_file_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "bombyx.toml"
    directory.mkdir()
    with pytest.raises(SetupError, match="no settings file"):
        load(directory)
    monkeypatch.setattr(Path, "is_file", lambda _: True)
    with pytest.raises(SetupError, match="cannot be read"):
        load(directory)


def test_a_value_that_does_not_fit_names_setting_and_origin_and_not_the_value(toml: Path) -> None:
    with pytest.raises(SetupError) as caught:
        load(toml, environ={"BOMBYX_GATEWAY_PORT": "s3cret"})
    assert "[gateway] port:" in caught.value.message
    assert "environment BOMBYX_GATEWAY_PORT" in caught.value.message
    assert "s3cret" not in caught.value.message


def test_constructing_settings_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "7")
    monkeypatch.setenv("BOMBYX_GATEWAY_PORT", "7")
    assert Gateway().port == 8080


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Gateway().port = 1


def test_the_file_is_looked_for_here_and_then_in_the_users_place(tmp_path: Path) -> None:
    assert find_config(environ={}) is None
    users = tmp_path / "xdg" / "bombyx" / "bombyx.toml"
    users.parent.mkdir(parents=True)
    users.touch()
    assert find_config(environ={}) == users
    Path("bombyx.toml").touch()
    assert find_config(environ={}) == Path("bombyx.toml")


def test_a_named_file_must_exist(tmp_path: Path, toml: Path) -> None:
    assert find_config(environ={"BOMBYX_CONFIG": str(toml)}) == toml
    with pytest.raises(SetupError, match="no settings file"):
        find_config(tmp_path / "absent.toml", environ={"BOMBYX_CONFIG": str(toml)})


def test_the_state_lies_where_it_was_named(tmp_path: Path) -> None:
    assert state_directory(environ={}) == tmp_path / "xdg-state" / "bombyx"
    assert state_directory(environ={"BOMBYX_STATE": "here"}) == Path.cwd() / "here"
    assert state_directory(tmp_path, environ={"BOMBYX_STATE": "here"}) == tmp_path
