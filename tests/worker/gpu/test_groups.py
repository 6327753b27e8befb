"""`--gpus`: which GPUs belong together, and what their processes are told."""

import pytest

from bombyx.errors import SetupError
from worker.gpu.groups import Group, group_name, parse_groups, use_group


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("", []),
        ("0", [(0,)]),
        ("0-3,4-7", [(0, 1, 2, 3), (4, 5, 6, 7)]),
        ("1,0", [(1,), (0,)]),
        ("2-2", [(2,)]),
    ],
)
def test_groups_are_read(text: str, groups: list[Group]) -> None:
    assert parse_groups(text) == groups
    assert [parse_groups(group_name(group)) for group in groups] == [[one] for one in groups]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("3-0", "runs backwards"),
        ("0-3,3", "GPU 3 twice"),
        ("a", "numbers and ranges"),
        ("0,,1", "numbers and ranges"),
        ("-1", "numbers and ranges"),
        ("0-64", "so many GPUs"),
        ("0-1-2", "numbers and ranges"),
    ],
)
def test_what_is_no_group_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(SetupError, match=sentence):
        parse_groups(text)


def test_engines_see_the_gpus_that_are_attested(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "before")
    use_group((4, 5))
    import os  # noqa: PLC0415

    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,5"
    assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
