"""The adversary against a network of real processes: every attack is defeated."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

KNOWN = {
    # MECHANISMS begins with attacks that worked against looser designs; these are theirs.
    "link_challenge_is_a_receipt": "a link challenge that is a receipt",
    "final_mark_on_clear_frame": "`final` on a clear frame",
    "prompt_guessed_through_cache": "prompts extracted through a shared prefix cache",
    "one_users_request_billed_to_another": "billing one user's request to another",
    "prompt_beyond_header": "a prompt token count that bytes do not bound",
    "refusal_forged": "retries sealed anew and billed twice",
    "ceiling_demanded_beyond_the_cap": "a ceiling raised by a lying 402",
    "voucher_refused_for_a_higher_one": "the same over HTTP",
    "closed_channel_opened_again": "a closed channel re-opened for old vouchers",
    "page_with_own_origin": "a localhost sidecar spent by any web page",
}


@pytest.mark.timeout(300)
def test_a_network_of_our_own_defeats_every_attack(tmp_path: Path) -> None:
    """One network for all: this is the kit's own command, run once."""
    done = subprocess.run(
        [sys.executable, "-m", "bombyx", "attack", "--json", "--state", str(tmp_path / "net")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    attacks = report["attacks"]
    assert [one for one in attacks if one["result"] != "defeated"] == []
    assert done.returncode == 0
    assert report["skipped"] == []
    keys = {"name", "role", "defence", "expected", "observed", "result"}
    assert all(set(one) == keys for one in attacks)
    names = [one["name"] for one in attacks]
    assert len(names) == len(set(names)) >= 40
    assert len({one["defence"] for one in attacks}) >= 12
    assert {one["role"] for one in attacks} == {"gateway", "worker", "client", "page", "neighbour"}
    assert set(KNOWN) <= set(names)
