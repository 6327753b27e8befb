"""Whoever has no admin key learns nothing below `/admin`: not which paths and methods there are.

Stands before the routes, so that a body is not even read, and holds for routes yet to be written.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from bombyx.errors import BombyxError, Forbidden
from gateway.accounts.key_ring import KeyRing
from gateway.http import render
from gateway.inference.wire import bearer

ADMIN_PREFIX = "/admin/"


class AdminGuard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, *, key_ring: KeyRing) -> None:
        self._app = app
        self._key_ring = key_ring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let administrators through, and all paths that are nobody's."""
        if scope["type"] == "http" and scope["path"].startswith(ADMIN_PREFIX):
            try:
                key = await self._key_ring.authenticate(bearer(scope["headers"]))
                if key.scope != "admin":
                    raise Forbidden("this needs an admin key")
            except BombyxError as error:
                await render(error, scope)(scope, receive, send)
                return
        await self._app(scope, receive, send)
