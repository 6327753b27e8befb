"""One tree of errors: each with its own code, a status and words for the caller."""

import pkgutil
from importlib import import_module

import pytest

import bombyx
import gateway
import ton
import worker
from bombyx import errors
from bombyx.errors import BombyxError, EvidenceRefused, InsufficientQuota, WorkerRefused


def import_everything() -> None:
    """Some errors live beside what raises them; the tree is whole only with all modules."""
    for package in (bombyx, gateway, ton, worker):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith(("__main__", "llamacpp_child")):
                import_module(module.name)


import_everything()


def tree(kind: type[BombyxError] = BombyxError) -> list[type[BombyxError]]:
    below = [error for child in kind.__subclasses__() for error in tree(child)]
    return [kind, *below]


def test_codes_are_unique() -> None:
    codes = [error.code for error in tree()]
    assert sorted(codes) == sorted(set(codes))


@pytest.mark.parametrize("error", tree(), ids=lambda error: error.__name__)
def test_each_error_has_a_status_a_type_and_a_docstring(error: type[BombyxError]) -> None:
    assert 400 <= error.status < 600
    assert error.type.endswith("_error") or error.type == "insufficient_quota"
    assert error.__doc__


def test_the_envelope_is_openais_error_object() -> None:
    raised = InsufficientQuota("top up", param="model", retry_after_ms=5)
    assert errors.envelope(raised) == {
        "error": {
            "message": "top up",
            "type": "insufficient_quota",
            "code": "insufficient_quota",
            "param": "model",
        }
    }
    assert raised.retry_after_ms == 5


def test_a_refused_worker_comes_with_its_steps() -> None:
    assert EvidenceRefused("quote", "too old").step == "quote"
    assert WorkerRefused("no", steps=["a"]).steps == ("a",)
