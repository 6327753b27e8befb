"""What of the lock file goes into an image: enough to run, nothing for development."""

import json
import subprocess
import sys

import pytest

from tests.docker.image import DOCKER
from tests.test_packaging import WEB_AND_DATABASE

ROLES = ("build", "gateway", "owner", "worker-cpu", "worker-gpu")
DEVELOPMENT = {"pytest", "mypy", "ruff", "hypothesis", "openai", "schemathesis", "coverage"}


def ask(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(DOCKER / "lock.py"), *words],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def names(role: str) -> set[str]:
    lines = ask("requirements", role).stdout.splitlines()
    return {line.partition("==")[0] for line in lines if "==" in line}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_gets_pins_with_hashes_and_nothing_for_development(role: str) -> None:
    text = ask("requirements", role).stdout
    entries = [line for line in text.splitlines() if not line.startswith(" ")]
    assert all("==" in entry and entry.endswith("\\") for entry in entries)
    assert text.count("--hash=sha256:") >= len(entries)
    assert "://" not in text
    assert not names(role) & DEVELOPMENT


def test_the_worker_gets_no_web_framework_and_no_database() -> None:
    assert not names("worker-gpu") & WEB_AND_DATABASE
    assert names("worker-cpu") - names("worker-gpu") == {"xllamacpp"}


def test_who_is_paid_or_pays_gets_the_chain_and_the_worker_does_not() -> None:
    chain = {"pytoniq-core", "pynacl"}
    assert chain <= names("gateway")
    assert chain <= names("owner")
    assert not names("owner") & WEB_AND_DATABASE
    assert "pytoniq-core" not in names("worker-gpu")


def test_what_a_package_needs_comes_with_it() -> None:
    assert {"cffi", "pycparser", "greenlet", "pydantic-core", "asyncpg"} <= names("gateway")


@pytest.mark.parametrize("role", ROLES[1:])
def test_the_bill_of_materials_names_every_package_and_what_needs_it(role: str) -> None:
    document = json.loads(ask("sbom", role).stdout)
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    references = [one["bom-ref"] for one in document["components"]]
    assert set(references) == names(role)
    assert len(references) == len(set(references))
    needed = {one for each in document["dependencies"] for one in each["dependsOn"]}
    assert needed == set(references)


def test_the_image_below_is_part_of_the_bill_by_its_digest() -> None:
    image = "python@sha256:" + "0" * 64
    document = json.loads(ask("sbom", "gateway", "--image", image).stdout)
    (base,) = [one for one in document["components"] if one["type"] == "container"]
    assert base["hashes"] == [{"alg": "SHA-256", "content": "0" * 64}]
    refused = ask("sbom", "gateway", "--image", "python:3.11")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "by its digest" in refused.stderr
