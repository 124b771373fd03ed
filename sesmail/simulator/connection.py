"""uvicorn's HTTP protocol with one addition: the application can get at the connection, to reset it."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Protocol(HttpToolsProtocol):
    """Puts the transport into each request's scope."""

    def on_message_begin(self) -> None:
        """A request begins: uvicorn makes its scope here."""
        super().on_message_begin()
        self.scope["sesmail.transport"] = self.transport  # type: ignore[typeddict-unknown-key]
