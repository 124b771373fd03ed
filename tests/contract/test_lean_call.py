"""The lean call against servers on this machine: it says what boto3's call says, hears all answers, and knows its bounds."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import botocore
import pytest
from botocore import handlers
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.client import BaseClient
from botocore.credentials import ReadOnlyCredentials
from botocore.endpoint import Endpoint
from botocore.httpsession import URLLib3Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from sesmail.errors import OutcomeUnknown, SendThrottled, SesUnavailable
from sesmail.message import Email
from sesmail.ses import lean
from sesmail.ses.signature import Signer
from sesmail.ses.transport import SesTransport

EMAIL = Email("ann@example.org", "The secret subject", "Hello.", from_email="news@example.com")
BODY = b'{"MessageId":"0100-made-up"}'
ACCEPTED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)


@pytest.fixture(autouse=True)
def nobody_listens(monkeypatch):
    """Once moto was imported it listens to the calls of all clients, which the lean call would leave to boto3's."""
    own = [entry for entry in handlers.BUILTIN_HANDLERS if not entry[1].__module__.startswith("moto")]
    monkeypatch.setattr(handlers, "BUILTIN_HANDLERS", own)


class Server:
    """Answers the requests of each connection with what `talk` makes of it."""

    def __init__(self, talk: Callable[[socket.socket, dict], bool], context: ssl.SSLContext | None = None) -> None:
        self._talk, self._context = talk, context
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.requests: list[dict] = []
        self.connections = 0
        scheme = "https" if context else "http"
        self.url = f"{scheme}://127.0.0.1:{self.listening.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listening.accept()
                self.connections += 1
                threading.Thread(target=self._attend, args=(connection,), daemon=True).start()

    def _attend(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, self._secured(connection) as secured, secured.makefile("rb") as stream:
            while request := read_request(stream):
                self.requests.append(request)
                if not self._talk(secured, request):
                    return

    def _secured(self, connection: socket.socket) -> socket.socket:
        return self._context.wrap_socket(connection, server_side=True) if self._context else connection

    def close(self) -> None:
        self.listening.close()


def read_request(stream) -> dict:
    line = stream.readline().decode().strip()
    headers = {}
    while header := stream.readline().strip():
        name, _, value = header.decode().partition(":")
        headers[name.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", 0)))
    return {"line": line, "headers": headers, "body": json.loads(body)} if line else {}


@contextmanager
def serving(talk, **options) -> Iterator[Server]:
    server = Server(talk, **options)
    try:
        yield server
    finally:
        server.close()


def says(*pieces: bytes, stays: bool = True):
    """Answers each request with these pieces, each in a packet of its own."""

    def talk(connection: socket.socket, _request: dict) -> bool:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
        return stays

    return talk


def transport_to(url: str, **options) -> SesTransport:
    return SesTransport(region="eu-west-1", endpoint_url=url, **({"read_timeout_seconds": 2} | options))


def send(transport: SesTransport, send_id: str = "id-1") -> str:
    return transport.send(EMAIL, send_id=send_id)


# What is signed

KEY = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)
HOST = st.sampled_from(["email.eu-west-1.amazonaws.com", "localhost:8005", "[::1]:8005"])


@given(access=KEY, secret=KEY, token=st.none() | KEY, host=HOST, body=st.binary(max_size=200))
def test_a_signature_is_that_of_botocore(access, secret, token, host, body):
    credentials = ReadOnlyCredentials(access, secret, token)
    signer = Signer(lambda: credentials, host=host, region="eu-west-1", service="ses")
    for _ in range(2):  # with the key made, and with the key kept
        ours = signer.headers("/v2/email/outbound-emails", body)
        asked = AWSRequest(
            "POST", f"https://{host}/v2/email/outbound-emails", {"Content-Type": "application/json"}, body
        )
        theirs = SigV4Auth(credentials, "ses", "eu-west-1")
        moment = datetime.strptime(ours["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("botocore.auth.get_current_datetime", lambda moment=moment: moment)
            theirs.add_auth(asked)
        assert asked.headers["Authorization"] == ours["Authorization"]


def test_credentials_that_are_renewed_in_mid_life_sign_the_next_email(tmp_path, monkeypatch):
    """A process that tells credentials which are over at once is asked again for every email."""
    program = tmp_path / "credentials.py"
    program.write_text(
        "import datetime, json, pathlib\n"
        f"counter = pathlib.Path({str(tmp_path / 'counter')!r})\n"
        "n = int(counter.read_text()) + 1 if counter.exists() else 1\n"
        "counter.write_text(str(n))\n"
        "over = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=5)\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': f'KEY{n}', 'SecretAccessKey': f's{n}', 'SessionToken': f't/+={n}',"
        " 'Expiration': over.isoformat()}))\n"
    )
    (tmp_path / "config").write_text(f"[profile renewed]\ncredential_process = {sys.executable} {program}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    with serving(says(ACCEPTED)) as server:
        transport = transport_to(server.url, profile="renewed")
        assert transport.said.endswith("by the lean call")
        send(transport)
        send(transport)
    signed = [request["headers"] for request in server.requests]
    keys = [headers["authorization"].partition("Credential=")[2].partition("/")[0] for headers in signed]
    assert len(set(keys)) == 2
    assert [headers["x-amz-security-token"][4:] for headers in signed] == [key[3:] for key in keys]


# Answers in every form

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (
    BODY[:5],
    len(BODY) - 5,
    BODY[5:],
)
UNTIL_THE_END = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + BODY


@pytest.mark.parametrize(
    "answer",
    [
        ACCEPTED,
        ACCEPTED.replace(b"Content-Length: ", b"content-length:\t"),
        ACCEPTED.replace(b"200 OK\r\n", b"200 OK\r\nConnection: close\r\n"),
        b"HTTP/1.1 100 Continue\r\n\r\n" + ACCEPTED,
        CHUNKED,
        UNTIL_THE_END,
    ],
)
def test_an_answer_of_any_form_is_heard(answer):
    stays = answer != UNTIL_THE_END and b"close" not in answer
    with serving(says(answer, stays=stays)) as server:
        transport = transport_to(server.url)
        assert [send(transport), send(transport)] == ["0100-made-up"] * 2
    assert len(server.requests) == 2


@pytest.mark.parametrize("answer", [ACCEPTED, CHUNKED])
def test_an_answer_may_come_in_pieces_cut_anywhere(answer):
    cut = 0

    def talk(connection: socket.socket, request: dict) -> bool:
        return says(answer[:cut], answer[cut:])(connection, request)

    with serving(talk) as server:
        transport = transport_to(server.url)
        for cut in range(1, len(answer)):  # noqa: B007  the server reads it
            assert send(transport) == "0100-made-up"


@pytest.mark.parametrize("call", ["lean", "boto3"])
def test_a_connection_that_ends_within_the_answer_leaves_the_outcome_unknown_wherever_it_ends(call):
    cut = 0

    def talk(connection: socket.socket, _request: dict) -> bool:
        connection.sendall(ACCEPTED[:cut])
        if cut % 2:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False

    with serving(talk) as server:
        transport = transport_to(server.url, call=call)
        for cut in range(len(ACCEPTED)):  # noqa: B007  the server reads it
            with pytest.raises(OutcomeUnknown):
                send(transport)
        assert len(server.requests) == len(ACCEPTED), "each was asked once"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b" " * 2_000_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"fffff\r\n" + b" " * 2_000_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 2_000_000,
    ],
)
def test_an_answer_without_end_is_given_up(answer):
    with serving(says(answer)) as server, pytest.raises(OutcomeUnknown):
        send(transport_to(server.url))


def test_an_answer_that_drips_is_given_up_when_the_time_for_an_answer_is_over():
    def drip(connection: socket.socket, _request: dict) -> bool:
        for byte in ACCEPTED[:-1]:
            connection.sendall(bytes([byte]))
            threading.Event().wait(0.05)
        threading.Event().wait(5)
        return False

    with serving(drip) as server, pytest.raises(OutcomeUnknown):
        send(transport_to(server.url, read_timeout_seconds=0.3))


def test_what_is_left_of_one_answer_is_not_taken_for_the_next():
    with serving(says(ACCEPTED + ACCEPTED.replace(b"0100-made-up", b"0200-made-up"))) as server:
        transport = transport_to(server.url)
        assert [send(transport), send(transport)] == ["0100-made-up"] * 2
        assert server.connections == 2


def test_a_call_that_is_interrupted_leaves_its_connection_to_nobody(monkeypatch):
    with serving(says(ACCEPTED)) as server:
        transport = transport_to(server.url)
        send(transport)
        with monkeypatch.context() as patch:
            patch.setattr(lean, "_answer", lambda _reader: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                send(transport)
        assert send(transport) == "0100-made-up"
        assert server.connections == 2


def test_many_threads_hear_each_its_own_answer():
    def talk(connection: socket.socket, request: dict) -> bool:
        (tag,) = request["body"]["EmailTags"]
        body = json.dumps({"MessageId": f"for-{tag['Value']}"}).encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        return True

    heard: dict[str, str] = {}
    with serving(talk) as server:
        transport = transport_to(server.url)

        def work(thread: int) -> None:
            for n in range(25):
                heard[f"{thread}-{n}"] = send(transport, f"{thread}-{n}")

        threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert heard == {send_id: f"for-{send_id}" for send_id in heard}
    assert len(heard) == 200
    assert server.connections <= 8, "they are kept"


# What cannot have been sent


def refuse_the_handshake(connection: socket.socket) -> None:
    connection.recv(1)
    connection.sendall(bytes.fromhex("15030300020228"))  # an alert of TLS: handshake_failure


@pytest.mark.parametrize("refuse", [lambda _connection: None, refuse_the_handshake])
def test_a_handshake_that_fails_means_that_nothing_was_sent(refuse):
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                connection, _ = listening.accept()
                with connection:
                    refuse(connection)

        threading.Thread(target=serve, daemon=True).start()
        transport = transport_to(f"https://127.0.0.1:{listening.getsockname()[1]}")
        with pytest.raises(SesUnavailable):
            send(transport)


def certificate(folder: Path) -> ssl.SSLContext:
    """For 127.0.0.1, signed by itself; in `ca.pem`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    builder = builder.add_extension(
        x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    public = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    (folder / "ca.pem").write_bytes(public)
    (folder / "both.pem").write_bytes(public + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    return context


def test_a_set_of_certificates_that_boto3_is_told_of_counts(tmp_path, monkeypatch):
    with serving(says(ACCEPTED), context=certificate(tmp_path)) as server:
        with pytest.raises(SesUnavailable):
            send(transport_to(server.url))
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
        transport = transport_to(server.url)
        assert [send(transport), send(transport)] == ["0100-made-up"] * 2
        assert server.connections == 2, "the one that was not trusted, and one that is kept"


# Where boto3's own call is used


def test_todays_botocore_has_every_part_that_is_borrowed():
    with serving(says(ACCEPTED)) as server:
        transport = transport_to(server.url)
        assert transport.said == f"SES is asked at {server.url} (eu-west-1) by the lean call"
        send(transport)
        (request,) = server.requests
        assert "amz-sdk-invocation-id" not in request["headers"], "boto3's own call would have sent it"


def test_a_setting_chooses_boto3s_own_call():
    with serving(says(ACCEPTED)) as server:
        transport = transport_to(server.url, call="boto3")
        assert transport.said.endswith("by boto3's own call: SESMAIL_SES_CALL says so")
        send(transport)
        assert "amz-sdk-invocation-id" in server.requests[0]["headers"]


def listener(heard: list) -> Callable:
    def tracer(**told: object) -> None:
        heard.append(told)

    tracer.__module__ = "tracing.of.a.host"
    return tracer


@pytest.mark.parametrize("event", ["before-send", "request-created.sesv2", "provide-client-params.*.SendEmail"])
def test_who_listens_to_boto3s_events_hears_of_every_email(monkeypatch, event):
    heard: list = []
    monkeypatch.setattr(handlers, "BUILTIN_HANDLERS", [*handlers.BUILTIN_HANDLERS, (event, listener(heard))])
    with serving(says(ACCEPTED)) as server:
        transport = transport_to(server.url)
        assert transport.said.endswith("by boto3's own call: tracing listens to boto3's calls")
        send(transport)
    assert len(heard) == 1


@pytest.mark.parametrize(
    ("owner", "name"), [(BaseClient, "_make_api_call"), (Endpoint, "prepare_request"), (URLLib3Session, "send")]
)
def test_a_tracer_that_replaces_a_function_of_botocores_sees_every_email(monkeypatch, owner, name):
    whole, seen = getattr(owner, name), []

    def traced(self, *args, **kwargs):
        seen.append(name)
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(owner, name, traced)
    with serving(says(ACCEPTED)) as server:
        send(transport_to(server.url))
    assert seen == [name]


def test_a_proxy_is_gone_through(monkeypatch):
    with serving(says(ACCEPTED)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        transport = transport_to("http://ses.example.com")
        assert transport.said.endswith("by boto3's own call: it goes through a proxy")
        send(transport)
        assert proxy.requests[0]["line"].startswith("POST http://ses.example.com/")


@pytest.mark.parametrize(
    ("owner", "name"), [(BaseClient, "_resolve_endpoint_ruleset"), (URLLib3Session, "_setup_ssl_cert")]
)
def test_a_botocore_that_has_a_part_no_more_is_used_as_it_is(monkeypatch, owner, name):
    with serving(says(ACCEPTED)) as server:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, None)
            transport = transport_to(server.url)
            assert f"botocore {botocore.__version__} has other inner parts" in transport.said
        send(transport)
        assert len(server.requests) == 1


def test_a_surprise_before_anything_is_written_leaves_the_email_to_boto3_and_is_told_once(monkeypatch, caplog):
    with serving(says(ACCEPTED)) as server:
        transport = transport_to(server.url)
        with monkeypatch.context() as patch:
            patch.setattr(Signer, "headers", lambda *_: None)  # as a bug would have it
            assert [send(transport), send(transport)] == ["0100-made-up"] * 2
    assert len(server.requests) == 2
    (told,) = [record.getMessage() for record in caplog.records if "lean call" in record.getMessage()]
    assert "could not be written (TypeError)" in told
    assert "could not be written" in transport.said


@pytest.mark.parametrize("call", ["lean", "boto3"])
def test_a_refusal_is_read_by_botocore_whichever_call_is_used(call):
    body = b'{"message": "Maximum sending rate exceeded."}'
    refused = (
        b"HTTP/1.1 429 Too Many Requests\r\nx-amzn-ErrorType: TooManyRequestsException:http://internal/\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    with serving(says(refused)) as server, pytest.raises(SendThrottled) as caught:
        send(transport_to(server.url, call=call))
    assert caught.value.code == "TooManyRequestsException"
