"""`bombyx worker --describe`: what a policy needs to know, without a gateway."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from bombyx.attestation.simulated import image_measurement
from bombyx.cli import output
from bombyx.cli.main import main
from worker.attest.simulated_root import load_root, root_sha256


def test_the_description_names_models_image_and_root_and_is_stable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["--engine", "scripted", "--state", str(tmp_path), "--json"]
    told = []
    for _ in range(2):
        monkeypatch.setattr(output, "_stdout", output._Stdout())
        assert main(["worker", "--describe", *flags]) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert told[0] == told[1]
    assert told[0]["platform"] == "simulated"
    assert told[0]["mr_td"] == image_measurement(version("bombyx")).hex()
    assert told[0]["root"] == root_sha256(load_root(tmp_path / "simulated-root.pem"))
    (model,) = told[0]["models"]
    assert model["id"] == "scripted"
    assert len(model["weights"]) == len(model["engine"]) == 64
