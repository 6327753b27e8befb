"""Checks of `/models`."""

from bombyx.conformance.record import check
from bombyx.conformance.server import Server
from bombyx.conformance.verdict import at, expect, is_equal

AREA = "models"
NOBODY = "no-such-model-of-anybody"
FIRST_UNIX, LAST_UNIX = 10**9, 10**10
"""Seconds from 2001 to 2286: milliseconds are beyond."""


def expect_unix(document: object, name: str) -> None:
    """The member is a Unix time in whole seconds; raises `Wrong`."""
    value: int = at(document, name, kind=int)
    expect(FIRST_UNIX < value < LAST_UNIX, f"`{name}` is no Unix time in seconds: {value}")


@check(AREA, "api-reference/models/list")
async def models_are_listed(server: Server) -> str:
    """The list of models has the model asked for, each entry with its id, date and owner."""
    document = (await server.get("/models")).ok()
    is_equal(document, "object", to="list")
    models = at(document, "data", kind=list)
    for model in models:
        at(model, "id", kind=str)
        is_equal(model, "object", to="model")
        expect_unix(model, "created")
        at(model, "owned_by", kind=str)
    names = [model["id"] for model in models]
    expect(server.model in names, f"{server.model} is not in the list")
    return f"{len(models)} listed"


@check(AREA, "api-reference/models/retrieve")
async def one_model_is_shown(server: Server) -> str:
    """A model is found by its id."""
    document = (await server.get(f"/models/{server.model}")).ok()
    is_equal(document, "id", to=server.model)
    is_equal(document, "object", to="model")
    return "found"


@check(AREA, "api-reference/models/retrieve")
async def a_model_of_nobody_is_not_found(server: Server) -> str:
    """A model that nobody serves is a 404."""
    error = (await server.get(f"/models/{NOBODY}")).error(404)
    return f"404 {error['code']}"
