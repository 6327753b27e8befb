"""From settings, files and the machine to a `Session`: all that the pure session is handed.

Read here and nowhere else: the policy file, the identity's files, the clock, the randomness.
"""

import logging
import os
import time
import tomllib
import warnings
from collections.abc import Callable
from pathlib import Path

from bombyx.attestation.policy import Policy, named_policy, parse_policy
from bombyx.client.answer import Listeners
from bombyx.client.channel.setting import ChannelSource, open_wallet, root_of
from bombyx.client.channel.wallet import Wallet
from bombyx.client.disputes import DisputeFolder
from bombyx.client.identity import Identity
from bombyx.client.receipts import VerifiedAnswer
from bombyx.client.secret_files import load_or_create_secret
from bombyx.client.session import Session, Wishes
from bombyx.client.settings import ClientSettings
from bombyx.client.transcripts import TranscriptFolder, TranscriptsKept
from bombyx.client.waivers import WaiverFolder
from bombyx.envelope.response import Padding
from bombyx.errors import PolicyError, SetupError
from bombyx.settings import load_settings, state_directory
from bombyx.units import Nano

PAYER_FILE, CACHE_FILE = "payer.key", "user-cache.secret"
DISPUTES, WAIVED = "disputes", "waived"
MAX_POLICY_BYTES = 2**20
_NO_POLICY = (
    "a sealed client needs a policy, which says which workers may read the requests: pass its file "
    "as http_client(policy=…), or set BOMBYX_CLIENT_POLICY to it. `bombyx up` writes one to "
    "policy.toml in its state directory"
)
_SECRET_BYTES = 32
_log = logging.getLogger("bombyx.wallet")

PolicySource = Policy | str | Path | None


class ForgetfulIdentity(UserWarning):
    """Warned of when keys cannot be stored: they live as long as the process."""


class ExactPadding(UserWarning):
    """Warned of when answers come unpadded by the user's own wish."""


def read_policy(path: Path) -> Policy:
    """The policy in a TOML file, or the preset of this name; raises `PolicyError`."""
    preset = named_policy(str(path))
    if preset is not None:
        return preset
    try:
        with path.open("rb") as file:
            data = file.read(MAX_POLICY_BYTES + 1)
        if len(data) > MAX_POLICY_BYTES:
            raise PolicyError(f"the policy {path} is larger than 1 MiB")
        return parse_policy(tomllib.loads(data.decode("utf-8")))
    except OSError as error:
        raise PolicyError(f"the policy {path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PolicyError(f"the policy {path} is no TOML: {error}") from None


def resolve_policy(source: PolicySource, settings: ClientSettings) -> Policy:
    """The policy given, or the one that the settings name; raises `PolicyError` without either."""
    if isinstance(source, Policy):
        return source
    path = source or settings.policy
    if path is None:
        raise PolicyError(_NO_POLICY)
    return read_policy(Path(path).expanduser())


def load_identity(directory: Path, *, cache_secret: bytes | None = None) -> Identity:
    """The user's identity out of the state directory, made on first use.

    Where nothing can be written the identity is forgotten with the process, with a warning.
    Raises `SetupError` when the files are not the user's alone or hold something else.
    """
    payer = _secret(directory / PAYER_FILE)
    return Identity(payer, cache_secret or _secret(directory / CACHE_FILE))


def _secret(path: Path) -> bytes:
    try:
        text = load_or_create_secret(path)
    except OSError as error:
        warnings.warn(
            f"{path} cannot be written ({error.strerror}): its key is forgotten with this process",
            ForgetfulIdentity,
            stacklevel=4,
        )
        return os.urandom(_SECRET_BYTES)
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        secret = b""
    if len(secret) != _SECRET_BYTES:
        raise SetupError(f"{path} does not hold 32 bytes in hex; remove it to make a new key")
    return secret


def unix_seconds() -> int:
    """The machine's clock."""
    return time.time_ns() // 10**9


def open_session(  # noqa: PLR0913  (one parameter per wish)
    policy: PolicySource,
    *,
    on_receipt: Callable[[VerifiedAnswer], None] | None = None,
    cache_secret: bytes | None = None,
    settings: ClientSettings | None = None,
    state: Path | None = None,
    padding: str | None = None,
    save_transcripts: Path | str | None = None,
    channel: ChannelSource = None,
    config: Path | None = None,
) -> Session:
    """A session for this user on this machine; raises `PolicyError` or `SetupError`.

    `padding` and `save_transcripts` stand in for the settings of these names. `channel` is a folder
    of channels to pay from, True for the user's own; without it accounts are prepaid.
    """
    settings = settings or load_settings(ClientSettings, "client")[0]
    folder = state_directory(state) / "client"
    cap = settings.max_request_nano
    chosen = _padding(padding, settings)
    save_transcripts = save_transcripts or settings.save_transcripts
    _warn(chosen, save_transcripts)
    listeners = Listeners(
        on_receipt,
        DisputeFolder(folder / DISPUTES, unix_seconds),
        None if save_transcripts is None else TranscriptFolder(Path(save_transcripts).expanduser()),
        WaiverFolder(folder / WAIVED, unix_seconds),
    )
    accepted = resolve_policy(policy, settings)
    wallet = _wallet(settings, accepted, channel, state, config) if channel else None
    return Session(
        accepted,
        load_identity(folder, cache_secret=cache_secret),
        clock=unix_seconds,
        draw=os.urandom,
        wishes=Wishes(
            listeners,
            None if cap is None else Nano(cap),
            padding=chosen,
            affinity=settings.cache_affinity,
        ),
        wallet=wallet,
    )


def _wallet(
    settings: ClientSettings,
    policy: Policy,
    channel: ChannelSource,
    state: Path | None,
    config: Path | None,
) -> Wallet:
    return open_wallet(
        settings,
        policy,
        root=root_of(channel, state),
        state=state,
        clock=unix_seconds,
        say=_log.info,
        config=config,
    )


def _padding(wished: str | None, settings: ClientSettings) -> Padding:
    try:
        return settings.padding if wished is None else Padding(wished)
    except ValueError:
        raise SetupError(f"padding is bucket or exact, not {wished}") from None


def _warn(padding: Padding, transcripts: Path | str | None) -> None:
    """What the user gives up by choice is said once, where it is chosen."""
    if padding is Padding.EXACT:
        warnings.warn(
            "padding is exact: whoever sees the network sees the length of every token, and much "
            "of a text can be guessed from those",
            ExactPadding,
            stacklevel=4,
        )
    if transcripts is not None:
        warnings.warn(
            f"questions and answers are kept in clear in {transcripts}",
            TranscriptsKept,
            stacklevel=4,
        )
