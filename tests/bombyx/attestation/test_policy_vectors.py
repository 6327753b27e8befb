"""The policies that other implementations are held to are what this one says of them."""

import json

import pytest

from tests.vectors.make_policies import PATH, vectors


@pytest.mark.spec("17.3-a", "17.3-b")
def test_the_vectors_of_policies_are_up_to_date() -> None:
    assert json.loads(PATH.read_bytes()) == vectors()
