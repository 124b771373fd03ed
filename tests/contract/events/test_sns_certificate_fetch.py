"""Fetching a certificate from real servers that behave badly."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest

from sesmail.errors import EventNotStored
from sesmail.events.sns import CERTIFICATE_LIMIT_BYTES, fetch_certificate


@contextmanager
def server(answer):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            answer(self)

        def log_message(self, *arguments):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}"
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def respond(status: int, body: bytes = b"", **headers: str):
    def answer(request) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    return answer


def test_a_certificate_comes() -> None:
    with server(respond(200, b"pem")) as url:
        assert fetch_certificate(f"{url}/x.pem") == b"pem"


def test_a_redirecting_host_is_not_followed() -> None:
    visited = []
    with (
        server(visited.append) as inner,
        server(respond(302, Location=inner)) as url,
        pytest.raises(EventNotStored),
    ):
        fetch_certificate(f"{url}/x.pem")
    assert not visited


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_any_other_status_is_our_trouble(status) -> None:
    with server(respond(status, b"pem")) as url, pytest.raises(EventNotStored):
        fetch_certificate(f"{url}/x.pem")


def test_a_huge_certificate_is_given_up() -> None:
    with server(respond(200, b"x" * (CERTIFICATE_LIMIT_BYTES + 1))) as url, pytest.raises(EventNotStored):
        fetch_certificate(f"{url}/x.pem")


def test_a_certificate_that_drips_is_given_up_in_time() -> None:
    done = Event()

    def drip(request) -> None:
        request.send_response(200)
        request.end_headers()
        while not done.wait(0.02):
            try:
                request.wfile.write(b"x")
            except OSError:
                return

    with server(drip) as url:
        with pytest.raises(EventNotStored):
            fetch_certificate(f"{url}/x.pem", timeout_seconds=0.2)
        done.set()


def test_nobody_listening_is_our_trouble() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(EventNotStored):
            fetch_certificate(f"http://127.0.0.1:{unused.getsockname()[1]}/x.pem")


def test_a_proxy_in_the_environment_is_not_used(monkeypatch) -> None:
    visited = []
    with server(visited.append) as proxy, server(respond(200, b"pem")) as url:
        monkeypatch.setenv("HTTP_PROXY", proxy)
        monkeypatch.setenv("http_proxy", proxy)
        assert fetch_certificate(f"{url}/x.pem") == b"pem"
    assert not visited
