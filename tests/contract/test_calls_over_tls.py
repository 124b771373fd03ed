"""Both ways of asking SES, over TLS, on bad days: what may have been sent is unknown, what cannot have been is not."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sesmail.errors import OutcomeUnknown, SesMisconfigured, SesUnavailable
from sesmail.ses.transport import SesTransport
from tests.contract.test_lean_call import (
    ACCEPTED,
    BODY,
    Server,
    certificate,
    nobody_listens,  # noqa: F401  a fixture
    says,
    send,
    serving,
    transport_to,
)

CALLS = ("lean", "boto3")
HEAD = ACCEPTED.index(b"\r\n\r\n") + 4
CUTS = (
    0,
    1,
    9,
    ACCEPTED.index(b"\r\n") + 2,
    HEAD - 2,
    HEAD,
    HEAD + 1,
    len(ACCEPTED) - len(BODY) // 2,
    len(ACCEPTED) - 1,
)
"""Where an answer may end in a way of its own: before it, within its status, its headers, its body."""


@pytest.fixture(params=CALLS)
def call(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def context(folder: Path) -> ssl.SSLContext:
    return certificate(folder)


@pytest.fixture
def trusted(context: ssl.SSLContext, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(folder / "ca.pem"))
    return context


def asked_at(url: str, call: str, read_timeout_seconds: float = 60) -> SesTransport:
    return transport_to(url, call=call, read_timeout_seconds=read_timeout_seconds)


def reset(connection: socket.socket) -> None:
    """Close it by a reset, without a word of TLS's."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_a_connection_is_kept_and_the_call_is_the_one_that_is_meant(trusted: ssl.SSLContext, call: str) -> None:
    with serving(says(ACCEPTED), context=trusted) as server:
        transport = asked_at(server.url, call)
        assert [send(transport) for _ in range(3)] == ["0100-made-up"] * 3
        assert (server.connections, bool(transport.why_not_lean)) == (1, call == "boto3")


@pytest.mark.parametrize("ends", ["closed", "reset"])
def test_an_answer_that_ends_too_early_leaves_the_outcome_unknown(
    trusted: ssl.SSLContext, call: str, ends: str
) -> None:
    cut = 0

    def talk(connection: socket.socket, _request: dict[str, Any]) -> bool:
        connection.sendall(ACCEPTED[:cut])
        if ends == "reset":
            reset(connection)
        return False

    with serving(talk, context=trusted) as server:
        transport = asked_at(server.url, call)
        for cut in CUTS:  # noqa: B007  the server reads it
            with pytest.raises(OutcomeUnknown):
                send(transport)
        assert len(server.requests) == len(CUTS), "each was asked once"


class Deaf(Server):
    """Reads so many bytes of what comes over TLS, and resets the connection."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.most = 0
        super().__init__(lambda *_: False, context)

    def _attend(self, connection: socket.socket) -> None:
        with connection, self._secured(connection) as secured:
            read = 0
            while read < self.most and (piece := secured.recv(self.most - read)):
                read += len(piece)
            reset(secured)


@pytest.mark.parametrize("most", [1, 300, 700])
def test_a_connection_that_breaks_within_the_request_leaves_the_outcome_unknown(
    trusted: ssl.SSLContext, call: str, most: int
) -> None:
    server = Deaf(trusted)
    server.most = most
    with pytest.raises(OutcomeUnknown):
        send(asked_at(server.url, call))
    server.close()


@pytest.mark.parametrize("ends", ["closed", "reset"])
def test_a_kept_connection_that_ses_has_given_up_is_replaced_before_anything_is_sent(
    trusted: ssl.SSLContext, call: str, ends: str
) -> None:
    heard, over = threading.Event(), threading.Event()

    class Brief(Server):
        def _attend(self, connection: socket.socket) -> None:
            super()._attend(connection)  # which closes it
            over.set()

    def talk(connection: socket.socket, _request: dict[str, Any]) -> bool:
        connection.sendall(ACCEPTED)
        assert heard.wait(60)  # a reset would take away what has not been read
        if ends == "reset":
            reset(connection)
        return False

    server = Brief(talk, trusted)
    transport = asked_at(server.url, call)
    for _ in range(2):
        heard.clear()
        over.clear()
        assert send(transport) == "0100-made-up"
        heard.set()
        assert over.wait(60)
    assert (server.connections, len(server.requests)) == (2, 2)
    server.close()


def test_a_kept_connection_behind_which_nobody_is_any_more_costs_one_unknown_outcome(
    trusted: ssl.SSLContext, call: str
) -> None:
    gone = threading.Event()

    def talk(connection: socket.socket, _request: dict[str, Any]) -> bool:
        if len(server.requests) == 2:  # as behind a firewall that has forgotten the connection
            gone.wait(60)
            return False
        connection.sendall(ACCEPTED)
        return True

    with serving(talk, context=trusted) as server:
        transport = asked_at(server.url, call, read_timeout_seconds=4)
        assert send(transport) == "0100-made-up"
        with pytest.raises(OutcomeUnknown):
            send(transport)
        assert send(transport) == "0100-made-up"
        assert server.connections == 2
        gone.set()


def test_a_slow_answer_is_waited_for(trusted: ssl.SSLContext, call: str) -> None:
    def talk(connection: socket.socket, _request: dict[str, Any]) -> bool:
        for piece in (ACCEPTED[:HEAD], ACCEPTED[HEAD:]):
            threading.Event().wait(0.2)
            connection.sendall(piece)
        return True

    with serving(talk, context=trusted) as server:
        assert send(asked_at(server.url, call)) == "0100-made-up"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b" " * 2_000_000,
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + b"<p>" * 700_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 2_000_000,
    ],
)
def test_an_answer_that_is_larger_than_any_of_ses_leaves_the_outcome_unknown(
    trusted: ssl.SSLContext, call: str, answer: bytes
) -> None:
    with serving(says(answer, stays=False), context=trusted) as server, pytest.raises(OutcomeUnknown):
        send(asked_at(server.url, call))


def test_a_certificate_that_is_not_trusted_or_another_s_means_that_nothing_was_sent(
    context: ssl.SSLContext, folder: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    with serving(says(ACCEPTED), context=context) as server:
        with pytest.raises(SesUnavailable):
            send(asked_at(server.url, call))
        monkeypatch.setenv("AWS_CA_BUNDLE", str(folder / "ca.pem"))
        with pytest.raises(SesUnavailable):
            send(asked_at(server.url.replace("127.0.0.1", "localhost"), call))
        assert server.requests == []


def refuses(code: str, words: str) -> bytes:
    body = json.dumps({"message": words}).encode()
    head = f"HTTP/1.1 403 Forbidden\r\nx-amzn-ErrorType: {code}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("InvalidSignatureException", "Signature expired: 20270131T120000Z is now earlier than 20270131T121000Z"),
        ("RequestExpired", "Request timestamp is too skewed."),
        ("ExpiredTokenException", "The security token included in the request is expired"),
    ],
)
def test_a_clock_or_credentials_that_ses_does_not_take_stop_the_account_and_nothing_was_sent(
    trusted: ssl.SSLContext, call: str, code: str, words: str
) -> None:
    with serving(says(refuses(code, words), stays=False), context=trusted) as server:
        transport = asked_at(server.url, call)
        with pytest.raises(SesMisconfigured) as caught:
            send(transport)
    assert (caught.value.scope, caught.value.code, len(server.requests)) == ("account", code, 1)


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Tokens as a container gets them, each asked for anew: it is about to expire when it is given out."""
    given: list[str] = []

    class Gives(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given.append(f"token-{len(given) + 1}")
            expires = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
            said = {"AccessKeyId": "A", "SecretAccessKey": "s", "Token": given[-1], "Expiration": expires}
            body = json.dumps(said).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Gives)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{server.server_port}/")
    yield given
    server.shutdown()
    server.server_close()


def test_credentials_that_expire_in_the_middle_are_renewed_before_the_next_email(
    trusted: ssl.SSLContext, call: str, credentials: list[str]
) -> None:
    expired: set[str] = set()

    def talk(connection: socket.socket, request: dict[str, Any]) -> bool:
        token = request["headers"]["x-amz-security-token"]
        refusal = refuses("ExpiredTokenException", "The security token included in the request is expired")
        connection.sendall(refusal if token in expired else ACCEPTED)
        expired.add(token)
        return True

    with serving(talk, context=trusted) as server:
        transport: SesTransport = asked_at(server.url, call)
        assert [send(transport) for _ in range(3)] == ["0100-made-up"] * 3
        tokens = [request["headers"]["x-amz-security-token"] for request in server.requests]
    assert len({*tokens}) == 3
    assert {*tokens} <= {*credentials}
