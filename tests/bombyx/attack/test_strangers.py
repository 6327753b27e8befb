"""The kit against a gateway that it did not start: by URL, key and policy alone."""

import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from bombyx.attack.against import Against, strangers
from bombyx.attack.means.victim import Victim
from bombyx.attack.record import Result
from bombyx.attack.run import chosen, run
from bombyx.attack.target import Need
from bombyx.cli.network.policy import write_policy
from gateway.accounts.repository import Accounts
from tests.network.harness import network, with_policy
from worker.attest.simulated_root import save_root

CLIENT = """
import json, os, sys
os.environ["BOMBYX_STATE"] = sys.argv[1]
import bombyx
http = bombyx.http_client(policy=os.environ["BOMBYX_CLIENT_POLICY"])
answer = http.post(
    os.environ["OPENAI_BASE_URL"] + "/chat/completions",
    json=json.load(sys.stdin),
    headers={"authorization": "Bearer " + os.environ["OPENAI_API_KEY"]},
)
http.close()
events = [line[6:] for line in answer.text.splitlines() if line.startswith("data: {")]
for choice in (choice for event in events for choice in json.loads(event).get("choices") or []):
    print(choice["delta"].get("content") or "", end="")
sys.exit(0 if answer.text.endswith("data: [DONE]\\n\\n") else 1)
"""


@contextlib.asynccontextmanager
async def stranger(tmp_path: Path, client: str = "") -> AsyncIterator[Against]:
    """Another's network with two accounts, and all that its owner would tell the kit."""
    async with network(tmp_path) as net:
        accounts = Accounts(net.context.engine)
        other = await accounts.create("other")
        await accounts.credit(other.id, 10**12, txn="other")
        _, second = await accounts.create_key(other.id, name="other")
        policy, root = tmp_path / "policy.toml", tmp_path / "root.pem"
        write_policy(policy, with_policy(net, gateways=(net.context.gateway,)))
        save_root(net.root, root)
        against = Against(
            gateway=net.base_url,
            api_key=net.api_key,
            second_key=second.secret,
            policy=policy,
            simulated_root=root,
            client=client,
        )
        yield against


async def test_a_gateway_by_its_url_is_attacked_in_every_role_that_fits(tmp_path: Path) -> None:
    async with stranger(tmp_path) as against:
        # A sample of each: the whole kit runs against processes elsewhere.
        names = [
            "payer_of_another_account",
            "client_shown_a_false_bill",
            "refusal_of_altered_header",
            "worker_impersonated",
            "request_run_twice",
        ]
        async with strangers(against) as target:
            assert Need.WORKER not in target.has
            ran = [one async for one in run(chosen(names), target)]
        assert {one.attack.name for one in ran} == set(names) - {"request_run_twice"}
        assert [one.observed for one in ran if one.result is not Result.DEFEATED] == []


async def test_another_implementation_of_the_client_can_be_the_victim(tmp_path: Path) -> None:
    script = tmp_path / "ask.py"
    script.write_text(CLIENT)
    command = f"{sys.executable} {script} {tmp_path}"
    async with stranger(tmp_path, client=command) as against, strangers(against) as target:
        told = await Victim(target).ask(target.gateway, "say: silk")
        assert (told.believed, told.text) == (True, "silk")
        names = ["answer_cut_short", "gateway_key_swapped"]
        ran = [one async for one in run(chosen(names), target)]
        assert {one.attack.name: one.result for one in ran} == dict.fromkeys(names, Result.DEFEATED)
        assert all("exit_code_1" in one.observed for one in ran)
