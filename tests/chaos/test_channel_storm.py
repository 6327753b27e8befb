"""Channels close to the nano whatever is killed (SPEC 16); `make chaos` has the long storm."""

import json
from pathlib import Path

import pytest

from tests.chaos.channel_report import GATEWAY, ChannelPlan
from tests.chaos.channels import channel_storm

PLAN = ChannelPlan(
    kills=3,
    requests=40,
    purses=3,
    clients=3,
    lanes=4,
    at_once=8,
    streams=5,
    duration=8,
    grace=4,
    while_closing=(GATEWAY,),
)


async def test_kills_of_everybody_leave_every_channel_closed_to_the_nano(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOMBYX_STATE", str(tmp_path / "client"))
    report = await channel_storm(tmp_path / "site", PLAN)
    assert report.broken == [], json.dumps(report.document(), indent=1)
    assert sum(report.kills.values()) >= PLAN.kills + 2
