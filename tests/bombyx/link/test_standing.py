"""A gateway's word about a worker is read strictly: it is anybody's bytes."""

import pytest

from bombyx.errors import LinkError
from bombyx.link.standing import parse_standing

TOLD = (
    b'{"worker":"%s","gateway":"%s","at":1,"listed":false,"reason":"not_linked","queue":0,'
    b'"models":[],"later":"more"}' % (b"a" * 64, b"b" * 64)
)


def test_a_standing_is_read_and_what_is_new_in_it_passed_over() -> None:
    told = parse_standing(TOLD)
    assert (told.listed, told.reason, told.models) == (False, "not_linked", [])


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"[" * 10_000, b"\xff", TOLD.replace(b"not_linked", b"<b>")]
)
def test_what_is_no_standing_is_a_link_error(raw: bytes) -> None:
    with pytest.raises(LinkError):
        parse_standing(raw)
