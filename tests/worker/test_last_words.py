"""A worker that does not run leaves its owner the sentence why."""

from pathlib import Path

import msgspec
import pytest

from bombyx.control.document import LAST_WORDS, LastWords
from bombyx.errors import AttestationError, SetupError
from worker.last_words import MAX_SENTENCE, last_words


def read(folder: Path) -> LastWords:
    return msgspec.json.decode((folder / LAST_WORDS).read_bytes(), type=LastWords)


def test_the_sentence_that_it_ended_with_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with pytest.raises(AttestationError), last_words(folder, clock=lambda: 7):
        raise AttestationError("the GPUs are open")
    assert read(folder) == LastWords(7, AttestationError.code, "the GPUs are open")
    assert (folder / LAST_WORDS).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in folder.iterdir()] == [LAST_WORDS]


def test_an_orderly_end_takes_them_back(tmp_path: Path) -> None:
    with pytest.raises(SetupError), last_words(tmp_path):
        raise SetupError("x" * 9999)
    assert len(read(tmp_path).sentence) == MAX_SENTENCE
    with last_words(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_where_they_cannot_be_written_the_error_is_what_it_was(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="no place"), last_words(tmp_path / "file" / "state"):
        raise SetupError("no place")
