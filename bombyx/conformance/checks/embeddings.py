"""Checks of `/embeddings`."""

import base64
import binascii
import math
import struct
from typing import Any

from bombyx.conformance.record import check
from bombyx.conformance.server import Server
from bombyx.conformance.verdict import Wrong, at, expect, is_equal

AREA = "embeddings"
PATH = "/embeddings"
TEXT = "a silk moth"
FEW = 8
CLOSE = 1e-3
"""Float32 against decimal digits, on vectors of about unit length."""


@check(AREA, "api-reference/embeddings/object")
async def an_embedding_has_its_form(server: Server) -> str:
    """An answer lists one vector of numbers, and counts the prompt alone."""
    document = (await server.post(PATH, {"input": TEXT})).if_served("embeddings")
    is_equal(document, "object", to="list")
    at(document, "model", kind=str)
    (vector,) = vectors(document, 1)
    prompt, total = (
        at(document, "usage", name, kind=int) for name in ("prompt_tokens", "total_tokens")
    )
    expect(0 < prompt == total, f"{prompt} prompt tokens of {total}")
    return f"{len(vector)} numbers"


@check(AREA, "api-reference/embeddings/create#input")
async def many_texts_keep_their_order(server: Server) -> str:
    """Several inputs give as many vectors, by index, each as if it had come alone."""
    alone = (await server.post(PATH, {"input": "a bee"})).if_served("embeddings")
    document = (await server.post(PATH, {"input": [TEXT, "a bee", "a cocoon"]})).ok()
    found = vectors(document, 3)
    expect(_are_close(found[1], vectors(alone, 1)[0]), "the second vector is not the second text's")
    expect(not _are_close(found[0], found[1]), "different texts have the same vector")
    return "3"


@check(AREA, "api-reference/embeddings/create#encoding_format")
async def vectors_come_packed(server: Server) -> str:
    """`base64` is the same vector as little-endian float32; the SDKs ask for it by default."""
    plain = (await server.post(PATH, {"input": TEXT, "encoding_format": "float"})).if_served(
        "embeddings"
    )
    packed = (await server.post(PATH, {"input": TEXT, "encoding_format": "base64"})).ok()
    text = at(packed, "data", 0, "embedding", kind=str)
    try:
        raw = base64.b64decode(text, validate=True)
        unpacked = list(struct.unpack(f"<{len(raw) // 4}f", raw))
    except (binascii.Error, struct.error):
        raise Wrong("the packed vector is not base64 of float32") from None
    expect(_are_close(unpacked, vectors(plain, 1)[0]), "the packed vector is another one")
    return f"{len(unpacked)} numbers"


@check(AREA, "api-reference/embeddings/create#dimensions")
async def a_vector_can_be_shorter(server: Server) -> str:
    """`dimensions` gives a vector of that length."""
    document = (await server.post(PATH, {"input": TEXT, "dimensions": FEW})).if_served("dimensions")
    (vector,) = vectors(document, 1)
    expect(len(vector) == FEW, f"{len(vector)} numbers instead of {FEW}")
    return f"{FEW} numbers"


def vectors(document: Any, count: int) -> list[list[float]]:
    """The vectors in their order, which must be so many; raises `Wrong`."""
    data = at(document, "data", kind=list)
    expect(len(data) == count, f"{len(data)} vectors instead of {count}")
    found = []
    for number, entry in enumerate(data):
        is_equal(entry, "object", to="embedding")
        is_equal(entry, "index", to=number)
        vector = at(entry, "embedding", kind=list)
        expect(bool(vector), "a vector is empty")
        found.append([at(vector, place, kind=float) for place in range(len(vector))])
    return found


def _are_close(one: list[float], other: list[float]) -> bool:
    return len(one) == len(other) and math.dist(one, other) < CLOSE
