"""What a server says about itself at `/v1/models`: its kind, and its models when none were given.

Digests of a server that we did not start name it and prove nothing: they hash what it claims, under
a label that no file digest can have.
"""

from typing import Any

from bombyx import canonical
from worker.engine.flavour import Flavour
from worker.engine.port import EngineModel

_OWNERS = {
    "sglang": Flavour.SGLANG,
    "vllm": Flavour.VLLM,
    "llamacpp": Flavour.LLAMACPP,
}
_CONTEXT_UNTOLD = 4096
_OVERHEAD = 256
"""Templates of large models write up to a page of their own (tools, dates, thinking rules)."""
_MAX_NAME = 128


def flavour_of(listing: Any) -> Flavour:
    """The server's kind by the owner that it names; plain OpenAI for any other."""
    owners = {entry.get("owned_by") for entry in _entries(listing)}
    return next((kind for owner, kind in _OWNERS.items() if owner in owners), Flavour.OPENAI)


def models_of(listing: Any) -> dict[EngineModel, str]:
    """Each listed model with the server's own name for it, which may be a path of its disk."""
    found: dict[EngineModel, str] = {}
    for entry in _entries(listing):
        own = entry["id"]
        name = own.rstrip("/").rpartition("/")[2] if own.startswith(("/", ".")) else own
        found[_model(name[:_MAX_NAME], entry)] = own
    return found


def _entries(listing: Any) -> list[dict[str, Any]]:
    data = listing.get("data") if isinstance(listing, dict) else None
    entries = data if isinstance(data, list) else []
    return [one for one in entries if isinstance(one, dict) and isinstance(one.get("id"), str)]


def _model(name: str, entry: dict[str, Any]) -> EngineModel:
    meta = entry.get("meta")
    told = [entry.get("max_model_len"), meta.get("n_ctx") if isinstance(meta, dict) else None]
    context = next((one for one in told if type(one) is int and one > 0), _CONTEXT_UNTOLD)
    owner = str(entry.get("owned_by", ""))
    return EngineModel(
        id=name,
        context=context,
        weights=canonical.digest({"unproven_weights": name}).hex(),
        engine=canonical.digest({"unproven_engine": owner, "context": context}).hex(),
        bytes_factor=1,
        overhead=_OVERHEAD,
        max_image_tokens=0,
    )
