"""Connections that are reset on demand: the answer that resets one, and uvicorn's protocol that lets it do so."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

TRANSPORT = "seslocal.transport"


class HttpProtocol(HttpToolsProtocol):
    """Puts the transport into each request's scope."""

    def on_message_begin(self) -> None:
        """A request begins: uvicorn makes its scope here."""
        super().on_message_begin()
        self.scope[TRANSPORT] = self.transport  # type: ignore[literal-required]


class ConnectionReset(Response):
    """No answer: the connection hangs for a while, or until the client goes, and is then reset.

    Needs the connection itself, which `HttpProtocol` puts into the scope; under another server it is a 500.
    """

    def __init__(self, after_seconds: float = 0) -> None:
        super().__init__(status_code=500)
        self._after_seconds = after_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait, then reset."""
        transport = scope.get(TRANSPORT)
        if transport is None:
            await super().__call__(scope, receive, send)
            return
        await _until_disconnected(receive, self._after_seconds)
        if not transport.is_closing():
            _send_reset_on_close(transport)
            transport.abort()
            await _until_disconnected(receive, 1)


async def _until_disconnected(receive: Receive, seconds: float) -> None:
    async def disconnected() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    try:
        await asyncio.wait_for(disconnected(), seconds)
    except TimeoutError:
        return


def _send_reset_on_close(transport: asyncio.Transport) -> None:
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
