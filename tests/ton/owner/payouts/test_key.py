"""The owner's channel key: made once and whole, read by its owner alone."""

import os
from pathlib import Path

import pytest

from bombyx.errors import SetupError
from ton.owner.payouts.key import SEED_BYTES, payout_seed


def test_it_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "owner" / "payout.key"
    seed = payout_seed(path)
    assert len(seed) == SEED_BYTES
    assert payout_seed(path) == seed
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_was_cut_off_leaves_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty one would be refused for ever after."""

    def cut(_: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "payout.key"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", cut)
        with pytest.raises(SetupError, match="No space left"):
            payout_seed(path)
    assert list(tmp_path.iterdir()) == []
    assert len(payout_seed(path)) == SEED_BYTES


@pytest.mark.parametrize("text", ["", "07" * 31, "zz" * 32])
def test_what_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "payout.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(SetupError, match=r"payout\.key"):
        payout_seed(path)
    path.chmod(0o644)
    with pytest.raises(SetupError, match="chmod 600"):
        payout_seed(path)
