"""Who may ask: programs, and the simulator's own page. No page of another origin that a browser has open.

By DNS rebinding a page under any name may reach a server on loopback; it cannot choose the `Host` that the browser
sends. Nor can it take away the `Origin`: https://github.com/mitmproxy/mitmproxy/issues/3234 was the same.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Receive, Scope, Send

HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d*)?")
"""A name or an address, with or without a port. Nothing in the field is worth guessing at."""
CHANGES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Guard:
    """An ASGI middleware that refuses what a browser was talked into."""

    def __init__(self, app: ASGIApp, allowed_hosts: Collection[str] = ()) -> None:
        self._app = app
        self._allowed_hosts = {name.lower() for name in allowed_hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask on, or refuse."""
        refusal = self._refusal(Request(scope)) if scope["type"] == "http" else None
        if refusal:
            status, reason = refusal
            await JSONResponse({"error": reason}, status)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, request: Request) -> tuple[int, str] | None:
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        if not self._is_ours(host):
            return 403, "the simulator is not asked for by this Host; name it with --allow-host (allowed_hosts)"
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return 403, "pages of other origins may not ask the simulator"
        if request.headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
            return 403, "pages of other origins may not ask the simulator"
        changes = request.method in CHANGES and request.url.path.startswith("/_sim/")
        if changes and request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return 415, "what changes something is sent with Content-Type: application/json"
        return None

    def _is_ours(self, host: str) -> bool:
        """Whether it is an address, a name of this machine or one that was allowed."""
        if not HOST.fullmatch(host):
            return False
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".").lower()
        if name in self._allowed_hosts or name == "localhost" or name.endswith(".localhost"):
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return True
