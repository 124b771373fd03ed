"""The live page as a WSGI application, and served by itself on loopback: `sesmail page`."""

from __future__ import annotations

from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from sesmail.doors.live import STREAM, LivePage
from sesmail.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LOOPBACK = "127.0.0.1"
OWN_NAMES = {"127.0.0.1", "localhost", "[::1]"}
"""What a browser on this machine, or at the end of an SSH tunnel, calls it. Under any other name, a page of somebody
else's has had its own name lead here, to read this one."""


def application(page: LivePage) -> Callable[..., Iterable[bytes]]:
    """A WSGI application of the page; whoever mounts it asks for a login first."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            start_response("405 Method Not Allowed", [("Allow", "GET, HEAD"), ("Content-Type", "text/plain")])
            return [b"there is nothing to be done here but to look\n"]
        path = environ.get("PATH_INFO", "").lstrip("/")
        if path == STREAM and environ["REQUEST_METHOD"] == "GET" and (events := page.stream()):
            start_response("200 OK", [*page.stream_headers().items()])
            return events
        found = page.answer(path)
        start_response(f"{found.status} {HTTPStatus(found.status).phrase}", [*found.headers.items()])
        return [found.body] if environ["REQUEST_METHOD"] == "GET" else []

    return answer


def for_this_machine(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """The same for those who call the server by its own name alone."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("HTTP_HOST", "").rpartition(":")[0] in OWN_NAMES:
            return application(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"This page is for this machine alone: ask for it as 127.0.0.1 or localhost.\n"]

    return answer


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  its name in http.server
        """Nothing: the page asks once a second."""


def listen(port: int, page: LivePage) -> WSGIServer:
    """A server of the page on loopback; port 0 takes a free one. Raises `ConfigurationError` where it cannot listen."""
    try:
        return make_server(LOOPBACK, port, for_this_machine(application(page)), _Server, _Quiet)
    except OSError as error:
        raise ConfigurationError(
            f"Cannot listen on {LOOPBACK}:{port} ({error.strerror}), so the page cannot be seen; email is sent all the "
            "same. Name another --port."
        ) from None
