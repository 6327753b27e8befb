"""The unmodified openai SDKs 1.x and 2.x, which run on httpx, through the sealing transport.

They cannot share an environment with 3.x: `make setup` puts each into a folder of its own.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from bombyx.attestation.policy import render_policy
from tests.network.harness import network

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("major", "version"), [("1", "1.109.1"), ("2", "2.54.0")])
async def test_older_sdk_seals_streams_and_shows_errors(
    tmp_path: Path, major: str, version: str
) -> None:
    sdk = ROOT / ".compat" / f"openai-{major}"
    assert sdk.is_dir(), "run `make setup`: it installs the older SDKs"
    async with network(tmp_path) as net:
        policy = tmp_path / "policy.toml"
        policy.write_text(render_policy(net.policy))
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).with_name("older_sdk.py")),
            net.base_url,
            net.api_key,
            str(policy),
            stdout=asyncio.subprocess.PIPE,
            env={
                **os.environ,
                "PYTHONPATH": f"{sdk}{os.pathsep}{ROOT}",
                "BOMBYX_STATE": str(tmp_path / "client"),
            },
        )
        out, _ = await child.communicate()
        assert child.returncode == 0
        found = json.loads(out)
        assert found["version"] == version
        assert found["tier"] == "sealed"
        assert found["whole"].strip() == "whole"
        assert found["streamed"].split() == ["1", "2", "3"]
        assert found["asynchronous"].split() == ["1", "2", "3", "4"]
        assert found["refused"] == "unsupported_parameter"
        await net.settled()
        assert await net.context.store.billing_gap() == 0
