"""What a signed refusal says besides its code (SPEC 4)."""

import pytest
from msgspec import UNSET

from bombyx import canonical
from bombyx.errors import RequestError
from bombyx.link.documents import SignedRefusal
from bombyx.signing import Role, Signer
from worker.blame import Blamed, sign_refusal


def signed(param: str | None, message: str = "no") -> SignedRefusal:
    blamed = Blamed(RequestError(message, param=param), "client")
    made = sign_refusal(
        blamed,
        Signer(Role.RECEIPT, bytes(32)),
        worker="ab" * 32,
        gateway="cd" * 32,
        c=None,
        h=None,
        at=1,
    )
    assert canonical.decode(canonical.encode(made), SignedRefusal) == made
    return made


@pytest.mark.spec("4-b")
def test_a_refusal_names_the_field_that_it_is_about() -> None:
    assert signed("temperature").param == "temperature"
    assert signed("response_format.json_schema").param == "response_format.json_schema"
    assert signed(None).param is UNSET


@pytest.mark.spec("4-b")
@pytest.mark.parametrize("param", ["", "two words", "a" * 65, "\u00e4", "x\n", "{}"])
def test_what_is_no_name_of_a_field_is_left_out(param: str) -> None:
    assert signed(param).param is UNSET


def test_a_long_message_is_cut() -> None:
    assert len(str(signed(None, "m" * 2000).message)) == 512
