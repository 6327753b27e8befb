"""The specification lists a gateway's steps in their order, with what each shows (SPEC 17.11)."""

import re
from pathlib import Path

from bombyx.attestation.ratls.steps import GATEWAY_STEPS

SPEC = Path(__file__).parents[4] / "SPEC.md"


def test_the_specification_lists_the_steps_of_a_gateway() -> None:
    section = SPEC.read_text(encoding="utf-8").partition("<!-- gateway steps:")[2]
    told = re.findall(r"^\| `(\w+)` \| (.*) \|$", section.partition("\n\n")[0], re.MULTILINE)
    assert told == [(str(name), text) for name, text in GATEWAY_STEPS.items()]
