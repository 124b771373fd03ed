"""SesTransport against a loopback HTTP server: what goes over the wire, and what each answer becomes."""

from __future__ import annotations

import base64
import email as stdlib_email
import gzip
import json
import os
import socket
import socketserver
import ssl
import struct
import threading
import time
import traceback
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.policy import default
from ipaddress import ip_address
from pathlib import Path

import botocore
import pytest
from botocore import handlers
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sesmail.errors import (
    ConfigurationError,
    DailyQuotaExceeded,
    LineStopped,
    OutcomeUnknown,
    SendingPaused,
    SendRejected,
    SendThrottled,
    SesMisconfigured,
    SesUnavailable,
)
from sesmail.message import Attachment, Email
from sesmail.ses.transport import Account, SesTransport

ERRORS = Path(__file__).parent.parent / "fixtures" / "errors"
SENDER = "Alpha News <news@mail.example.com>"


def answer(status: int, body: object, error_type: str = "") -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = f"x-amzn-ErrorType: {error_type}\r\n" if error_type else ""
    return (
        f"HTTP/1.1 {status} Status\r\n{named}Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    ).encode() + content


ACCEPTED = answer(200, {"MessageId": "0100-made-up"})


class Server(socketserver.ThreadingTCPServer):
    """Reads whole requests, keeps them, and gives each connection the scripted answer: bytes, or what to do instead."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        self.requests: list[dict] = []
        self.reply: bytes | str = ACCEPTED
        self.closed = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Connection(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while (line := self.rfile.readline()).strip():
            headers = {}
            while (header := self.rfile.readline()).strip():
                name, _, value = header.decode().partition(":")
                headers[name.lower()] = value.strip()
            body = self.rfile.read(int(headers.get("content-length", 0)))
            self.server.requests.append(
                {"line": line.decode().strip(), "headers": headers, "body": json.loads(body or b"{}")}
            )
            if isinstance(self.server.reply, bytes):
                self.wfile.write(self.server.reply)
            else:
                getattr(self, self.server.reply)()
                return

    def accept_and_close(self) -> None:
        self.wfile.write(ACCEPTED)
        self.finish()
        self.connection.close()
        self.server.closed.set()

    def hang(self) -> None:
        time.sleep(5)

    def close_silently(self) -> None:
        pass

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


@pytest.fixture(scope="module")
def running():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def server(running):
    running.requests, running.reply = [], ACCEPTED
    return running


@pytest.fixture(scope="module", autouse=True)
def nobody_listens():
    """Once moto was imported it listens to the calls of all clients, which the lean call would leave to boto3's."""
    with pytest.MonkeyPatch.context() as patch:
        own = [entry for entry in handlers.BUILTIN_HANDLERS if not entry[1].__module__.startswith("moto")]
        patch.setattr(handlers, "BUILTIN_HANDLERS", own)
        yield


@pytest.fixture(scope="module", params=["lean", "boto3"])
def shared(running, request):
    """Making boto3's client takes longer than a test."""
    return SesTransport(region="eu-west-1", endpoint_url=running.url, read_timeout_seconds=1, call=request.param)


@pytest.fixture
def transport(server, shared):
    shared._way_of_this_process()  # made now, while the credentials are set
    assert (shared._way.lean is None) == (shared._call == "boto3"), shared.said
    return shared


def an_email(**changes) -> Email:
    values = {"from_email": SENDER, "text": "Hello.", "configuration_set": "alpha-events"}
    return Email(changes.pop("to", "ann@example.org"), "The secret subject", **(values | changes))


# A botocore that is older than what is asked


@pytest.fixture
def older_model(monkeypatch, tmp_path):
    """Has boto3 find a model of SES in which shapes lack members, as older ones do."""

    def install(**lacking: str) -> None:
        builtin = Path(botocore.__file__).parent / "data" / "sesv2"
        (version,) = (folder.name for folder in builtin.iterdir())
        model = json.loads(gzip.decompress((builtin / version / "service-2.json.gz").read_bytes()))
        for shape, member in lacking.items():
            del model["shapes"][shape]["members"][member]
        folder = tmp_path / "sesv2" / version
        folder.mkdir(parents=True)
        (folder / "service-2.json").write_text(json.dumps(model))
        monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))

    return install


def test_members_that_botocore_does_not_know_are_named_with_its_version_and_what_to_install(server, older_model):
    older_model(Message="Attachments", SendEmailRequest="EmailTags", Body="Html")
    transport = SesTransport(region="eu-west-1", endpoint_url=server.url)
    for ask in (transport.prepare, transport.account, lambda: transport.send(an_email(), send_id="id-1")):
        with pytest.raises(ConfigurationError) as caught:
            ask()
        assert f"botocore {botocore.__version__} is too old" in str(caught.value)
        assert " not know Content.Simple.Attachments, Content.Simple.Body.Html, EmailTags. SES" in str(caught.value)
        assert "pip install --upgrade boto3" in str(caught.value)
    assert server.requests == []


@pytest.mark.parametrize("member", ["ContentId", "ContentTransferEncoding"])
def test_members_of_an_attachment_are_looked_for_too(server, older_model, member):
    older_model(Attachment=member)
    with pytest.raises(ConfigurationError, match=rf" not know Content\.Simple\.Attachments\.{member}\. "):
        SesTransport(region="eu-west-1", endpoint_url=server.url).prepare()


def test_a_model_that_lacks_only_what_is_never_asked_will_do(server, older_model):
    older_model(SendEmailRequest="FeedbackForwardingEmailAddress")
    assert SesTransport(region="eu-west-1", endpoint_url=server.url).send(an_email(), send_id="id-1")


# What each answer becomes

WHAT_HAPPENS_NEXT = {
    "v1_daily": (DailyQuotaExceeded, None),
    "v1_internal": (OutcomeUnknown, None),
    "v1_not_verified": (SesMisconfigured, "identity:mail.example.com"),
    "v1_paused_by_aws": (SendingPaused, "account"),
    "v1_rate": (SendThrottled, None),
    "v2_api_throttle": (SendThrottled, None),
    "v2_bad_key": (SesMisconfigured, "account"),
    "v2_config_set_missing": (SesMisconfigured, "configuration-set:alpha-events"),
    "v2_daily": (DailyQuotaExceeded, None),
    "v2_expired_token": (SesMisconfigured, "account"),
    "v2_internal": (OutcomeUnknown, None),
    "v2_mailfrom": (SesMisconfigured, "identity:mail.example.com"),
    "v2_not_verified": (SesMisconfigured, "identity:mail.example.com"),
    "v2_paused": (SendingPaused, "account"),
    "v2_rate": (SendThrottled, None),
    "v2_suspended": (SendingPaused, "account"),
    "v2_unavailable": (OutcomeUnknown, None),
}


def recorded(name: str) -> bytes:
    """The file with CRLF in its head, as on the wire, and the length that its body has."""
    head, body = (ERRORS / f"{name}.http").read_bytes().replace(b"\r\n", b"\n").split(b"\n\n", 1)
    lines = [line for line in head.split(b"\n") if not line.lower().startswith(b"content-length")]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", b""]) + body


def test_every_recorded_answer_has_its_line_in_the_table():
    assert sorted(WHAT_HAPPENS_NEXT) == sorted(file.stem for file in ERRORS.glob("*.http"))


@pytest.mark.parametrize("name", WHAT_HAPPENS_NEXT)
def test_a_recorded_answer_becomes_what_happens_next_after_one_request(name, server, transport):
    server.reply = recorded(name)
    with pytest.raises(Exception) as caught:
        transport.send(an_email(), send_id="id-1")
    error, scope = WHAT_HAPPENS_NEXT[name]
    assert type(caught.value) is error
    assert getattr(caught.value, "scope", None) == scope
    assert len(server.requests) == 1


NAMED = {
    "TenantName": "shop-17",
    "ListManagementOptions": {"ContactListName": "readers"},
    "Content": {"Template": {"TemplateName": "hello"}},
}
FORBIDDEN_SENDER = "x is not authorized to perform: ses:SendEmail on arn:aws:ses:eu-west-1:1:identity/mail.example.com"


@pytest.mark.parametrize(
    ("status", "code", "words", "error", "scope"),
    [
        (400, "LimitExceededException", "Daily message quota exceeded.", DailyQuotaExceeded, None),
        (400, "LimitExceededException", "There are too many instances.", SesMisconfigured, "account"),
        (429, "TooManyRequestsException", "Daily sending quota exceeded", DailyQuotaExceeded, None),
        (429, "TooManyRequestsException", "Too many requests", SendThrottled, None),
        (400, "MessageRejected", "Sending suspended for this account. For more", SendingPaused, "account"),
        (400, "MessageRejected", "The message has a virus.", SendRejected, None),
        (400, "SendingPausedException", "Sending paused for configuration set x", SendingPaused, "configuration-set:alpha-events"),
        (400, "ConfigurationSetSendingPausedException", "", SendingPaused, "configuration-set:alpha-events"),
        (400, "BadRequestException", "Missing final '@domain'", SendRejected, None),
        (400, "BadRequestException", "Configuration set <alpha-events> does not exist", SesMisconfigured, "configuration-set:alpha-events"),
        (400, "InvalidParameterValue", "Illegal address", SendRejected, None),
        (404, "NotFoundException", "Template x does not exist", SesMisconfigured, "template:hello"),
        (404, "NotFoundException", "List with name: x doesn't exist", SesMisconfigured, "contact-list:readers"),
        (404, "NotFoundException", "Tenant x does not exist", SesMisconfigured, "tenant:shop-17"),
        (404, "NotFoundException", "Something else does not exist", SesMisconfigured, "account"),
        (400, "BadRequestException", "Resource x is not associated with tenant y", SesMisconfigured, "tenant:shop-17"),
        (400, "SendingPausedException", "Sending paused for this tenant", SendingPaused, "tenant:shop-17"),
        (400, "MessageRejected", "Sending paused for tenant y", SendingPaused, "tenant:shop-17"),
        (413, "RequestEntityTooLarge", "", SendRejected, None),
        (408, "RequestTimeoutException", "", SesUnavailable, None),
        (403, "AccessDeniedException", FORBIDDEN_SENDER, SesMisconfigured, "identity:mail.example.com"),
        (403, "AccessDeniedException", "not authorized", SesMisconfigured, "account"),
        (400, "InvalidSignatureException", "Signature expired", SesMisconfigured, "account"),
        (503, "", "", OutcomeUnknown, None),
        (418, "NeverSeenException", "ann@example.org is a teapot", SesUnavailable, None),
        (500, "NeverSeenException", "", OutcomeUnknown, None),
    ],
)  # fmt: skip
def test_an_answer_is_told_by_its_code_and_its_words(server, transport, status, code, words, error, scope):
    server.reply = answer(status, {"message": words}, code)
    email = Email("ann@example.org", "", from_email=SENDER, configuration_set="alpha-events", ses=NAMED)
    with pytest.raises(Exception) as caught:
        transport.send(email, send_id="id-1")
    assert type(caught.value) is error
    assert getattr(caught.value, "scope", None) == scope
    assert caught.value.code == (code or str(status))


NOT_VERIFIED = "Email address is not verified. The following identities failed the check in region EU-WEST-1: "


@pytest.mark.parametrize(
    ("listed", "error"),
    [
        ("news@mail.example.com", SesMisconfigured),
        ("NEWS@MAIL.EXAMPLE.COM, ann@example.org", SesMisconfigured),
        ("mail.example.com", SesMisconfigured),
        ("Alpha News <news@mail.example.com>", SesMisconfigured),
        ("ann@example.org", SendRejected),
        ("bob@mail.example.com", SendRejected),
        ("other-news@mail.example.com", SendRejected),
        ("news@mail.example.com.au", SendRejected),
        ("ann@example.org, …", SesMisconfigured),
        ("", SesMisconfigured),
    ],
)
def test_an_unverified_sender_stops_the_line_and_an_unverified_recipient_only_its_email(
    server, transport, listed, error
):
    server.reply = answer(400, {"message": NOT_VERIFIED + listed}, "MessageRejected")
    with pytest.raises(error) as caught:
        transport.send(an_email(to=["ann@example.org", "bob@mail.example.com"]), send_id="id-1")
    if error is SendRejected:
        assert "sandbox" in str(caught.value)


def test_no_address_of_an_answer_gets_into_a_traceback(server, transport):
    listed = '"ann smith"@example.org, o\'brien@example.org, dept/x@example.org, bob+tag@mail.example.com, Eve <eve@example.org>.'
    server.reply = answer(400, {"message": NOT_VERIFIED + listed}, "MessageRejected")
    with pytest.raises(SendRejected) as caught:
        transport.send(an_email(), send_id="id-1")
    written = "".join(traceback.format_exception(caught.value))
    assert "<address>" in written
    for personal in ("ann", "smith", "brien", "dept", "bob", "eve@", "@example.org", "secret"):
        assert personal not in written
    assert caught.value.__context__ is None


def test_without_a_configuration_set_or_a_sender_the_whole_account_is_meant(server, transport):
    email = Email("ann@example.org", "Hi", "Hello.")
    server.reply = recorded("v2_config_set_missing")
    with pytest.raises(LineStopped) as caught:
        transport.send(email, send_id="id-1")
    assert caught.value.scope == "account"


# No answer


@pytest.mark.parametrize("reply", ["hang", "reset", "close_silently"])
def test_no_answer_after_the_request_was_written_is_an_unknown_outcome_and_is_not_asked_again(server, transport, reply):
    server.reply = reply
    with pytest.raises(OutcomeUnknown):
        transport.send(an_email(), send_id="id-1")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "reply",
    [
        answer(200, b"<html>surprise</html>"),
        answer(200, {}),
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
        b"what?\r\n",
    ],
)
def test_an_answer_that_cannot_be_read_is_an_unknown_outcome(server, transport, reply):
    server.reply = reply
    with pytest.raises(OutcomeUnknown):
        transport.send(an_email(), send_id="id-1")
    assert len(server.requests) == 1


def test_a_refused_connection_means_nothing_was_sent():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(SesUnavailable):
        SesTransport(region="eu-west-1", endpoint_url=f"http://127.0.0.1:{port}").send(an_email(), send_id="id-1")


def self_signed(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    address = x509.IPAddress(ip_address("127.0.0.1"))
    builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    written = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    written += key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "both.pem").write_bytes(written)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    return context


def test_a_certificate_that_is_not_trusted_means_nothing_was_sent(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"https://127.0.0.1:{listening.getsockname()[1]}"
        thread = threading.Thread(target=refused_handshake, args=(listening, self_signed(tmp_path)), daemon=True)
        thread.start()
        with pytest.raises(SesUnavailable):
            SesTransport(endpoint_url=url).send(an_email(), send_id="id-1")
        thread.join()


def refused_handshake(listening: socket.socket, context: ssl.SSLContext) -> None:
    connection, _ = listening.accept()
    with connection, suppress(OSError), context.wrap_socket(connection, server_side=True) as secure:
        secure.recv(1)


# Before the first byte of the request, and after it


HANDSHAKE_FAILURE = bytes((21, 3, 3, 0, 2, 2, 40))
"""A TLS alert: fatal, handshake_failure. https://www.rfc-editor.org/rfc/rfc8446#section-6"""


def closes_at_accept(connection: socket.socket) -> None:
    """Nothing is said."""


def resets_at_accept(connection: socket.socket) -> None:
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def refuses_the_handshake(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(HANDSHAKE_FAILURE)


def says_nothing(connection: socket.socket) -> None:
    connection.recv(4096)
    time.sleep(3)


def speaks_no_tls(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def refuses_to_connect(connection: socket.socket) -> None:
    assert connection.recv(4096).startswith(b"CONNECT email.example.com:443")
    connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")


def serve(listening: socket.socket, behaviour) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listening.accept()
            with connection, suppress(OSError):
                behaviour(connection)


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def port_of(listening: socket.socket) -> int:
    return listening.getsockname()[1]


@pytest.fixture(params=["lean", "boto3"])
def quick(request):
    return {"call": request.param, "region": "eu-west-1", "connect_timeout_seconds": 1, "read_timeout_seconds": 2}


@pytest.mark.parametrize(
    "behaviour", [closes_at_accept, resets_at_accept, refuses_the_handshake, says_nothing, speaks_no_tls]
)
def test_a_connection_that_fails_before_the_request_means_that_ses_was_not_asked(listening, quick, behaviour):
    threading.Thread(target=serve, args=(listening, behaviour), daemon=True).start()
    with pytest.raises(SesUnavailable) as raised:
        SesTransport(endpoint_url=f"https://127.0.0.1:{port_of(listening)}", **quick).send(an_email(), send_id="id-1")
    assert not raised.value.is_answer, "the breaker counts it"


@pytest.mark.parametrize("behaviour", [closes_at_accept, resets_at_accept, refuses_to_connect])
def test_a_proxy_that_does_not_connect_means_that_ses_was_not_asked(listening, quick, monkeypatch, behaviour):
    threading.Thread(target=serve, args=(listening, behaviour), daemon=True).start()
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port_of(listening)}")
    with pytest.raises(SesUnavailable):
        SesTransport(endpoint_url="https://email.example.com", **quick).send(an_email(), send_id="id-1")


def test_a_name_that_is_not_found_means_that_ses_was_not_asked(quick):
    with pytest.raises(SesUnavailable):
        SesTransport(endpoint_url="https://ses.invalid", **quick).send(an_email(), send_id="id-1")


def test_certificates_that_are_not_where_they_should_be_mean_that_ses_was_not_asked(listening, quick, monkeypatch):
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nonexistent/ca.pem")
    with pytest.raises((SesUnavailable, SesMisconfigured)):
        SesTransport(endpoint_url=f"https://127.0.0.1:{port_of(listening)}", **quick).send(an_email(), send_id="id-1")


@pytest.mark.parametrize("secure", [True, False])
def test_a_connection_that_breaks_after_the_first_byte_of_the_request_leaves_the_outcome_open(
    listening, quick, monkeypatch, tmp_path, secure
):
    context = self_signed(tmp_path)

    def breaks_after_a_byte(connection: socket.socket) -> None:
        talking = context.wrap_socket(connection, server_side=True) if secure else connection
        assert talking.recv(1) == b"P"
        talking.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        talking.close()

    threading.Thread(target=serve, args=(listening, breaks_after_a_byte), daemon=True).start()
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "both.pem"))
    url = f"{'https' if secure else 'http'}://127.0.0.1:{port_of(listening)}"
    with pytest.raises(OutcomeUnknown):
        SesTransport(endpoint_url=url, **quick).send(an_email(), send_id="id-1")


def test_missing_credentials_stop_the_line_and_say_so(server, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(SesMisconfigured, match="credentials"):
        SesTransport(region="eu-west-1", endpoint_url=server.url).send(an_email(), send_id="id-1")
    assert server.requests == []


@pytest.mark.parametrize(
    "wrong", [{"region": None}, {"profile": "nobody"}, {"endpoint_url": "no url"}, {"region": "not a region"}]
)
def test_a_client_that_cannot_be_made_is_a_misconfiguration(wrong, monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    transport = SesTransport(**({"region": "eu-west-1"} | wrong))
    transport.prepare()
    with pytest.raises(SesMisconfigured):
        transport.send(an_email(), send_id="id-1")


# What is asked


def test_a_full_email_goes_out_in_simple_content_with_every_part(server, transport):
    email = an_email(
        to=["Jürg Müller <juerg@example.org>", "bob@bücher.example.com"],
        html="<p>Grüße <img src='cid:logo'></p>",
        cc="Carol <carol@example.org>",
        bcc=["dave@example.org"],
        reply_to=["Helpdesk <help@example.com>"],
        headers={"List-Unsubscribe": "<https://example.com/u>", "X-Campaign": "Frühling"},
        attachments=[("a.pdf", b"%PDF", "application/pdf"), Attachment("logo.png", b"png", content_id="logo")],
        tags={"campaign": "spring"},
    )
    assert transport.send(email, send_id="id-1") == "0100-made-up"
    (request,) = server.requests
    assert request["line"] == "POST /v2/email/outbound-emails HTTP/1.1"
    assert request["headers"]["user-agent"].startswith("sesmail/")
    assert request["body"] == {
        "FromEmailAddress": "Alpha News <news@mail.example.com>",
        "Destination": {
            "ToAddresses": ["=?utf-8?b?SsO8cmcgTcO8bGxlcg==?= <juerg@example.org>", "bob@xn--bcher-kva.example.com"],
            "CcAddresses": ["Carol <carol@example.org>"],
            "BccAddresses": ["dave@example.org"],
        },
        "ReplyToAddresses": ["Helpdesk <help@example.com>"],
        "ConfigurationSetName": "alpha-events",
        "EmailTags": [{"Name": "campaign", "Value": "spring"}, {"Name": "sesmail-id", "Value": "id-1"}],
        "Content": {
            "Simple": {
                "Subject": {"Data": "The secret subject", "Charset": "UTF-8"},
                "Body": {
                    "Text": {"Data": "Hello.", "Charset": "UTF-8"},
                    "Html": {"Data": "<p>Grüße <img src='cid:logo'></p>", "Charset": "UTF-8"},
                },
                "Headers": [
                    {"Name": "List-Unsubscribe", "Value": "<https://example.com/u>"},
                    {"Name": "X-Campaign", "Value": "=?utf-8?b?RnLDvGhsaW5n?="},
                    {"Name": "X-Sesmail-Id", "Value": "id-1"},
                ],
                "Attachments": [
                    {
                        "FileName": "a.pdf",
                        "RawContent": base64.b64encode(b"%PDF").decode(),
                        "ContentType": "application/pdf",
                        "ContentDisposition": "ATTACHMENT",
                        "ContentTransferEncoding": "BASE64",
                    },
                    {
                        "FileName": "logo.png",
                        "RawContent": base64.b64encode(b"png").decode(),
                        "ContentType": "image/png",
                        "ContentDisposition": "INLINE",
                        "ContentTransferEncoding": "BASE64",
                        "ContentId": "logo",
                    },
                ],
            }
        },
    }


def test_what_else_ses_takes_is_asked_by_its_own_names(server, transport):
    said = {"TenantName": "shop-17", "ListManagementOptions": {"ContactListName": "news", "TopicName": "sales"}}
    for email in (an_email(ses=said), an_email(ses=said, headers={f"X-{n}": "1" for n in range(15)})):
        transport.send(email, send_id="id-1")
    simple, raw = (request["body"] for request in server.requests)
    assert [set(body["Content"]) for body in (simple, raw)] == [{"Simple"}, {"Raw"}]
    assert [{name: body[name] for name in said} for body in (simple, raw)] == [said, said]


def test_a_small_email_has_no_empty_fields(server, transport):
    transport.send(Email("ann@example.org", "Hi", html="<p>"), send_id="id-1")
    (request,) = server.requests
    assert set(request["body"]) == {"Destination", "Content", "EmailTags"}
    assert request["body"]["Destination"] == {"ToAddresses": ["ann@example.org"]}
    assert set(request["body"]["Content"]["Simple"]) == {"Subject", "Body", "Headers"}


@pytest.mark.parametrize(
    "only_raw",
    [
        {"headers": {f"X-{n}": "1" for n in range(15)}},
        {"attachments": [("report.csv", "Grüße", "text/csv")]},
        {"attachments": [("grüße.pdf", b"1", "application/pdf")]},
        {"attachments": [("README", b"1", "text/plain")]},
    ],
)
def test_what_simple_content_cannot_say_goes_out_raw(server, transport, only_raw):
    transport.send(an_email(bcc="dave@example.org", **only_raw), send_id="id-1")
    (request,) = server.requests
    assert set(request["body"]["Content"]) == {"Raw"}
    message = stdlib_email.message_from_bytes(
        base64.b64decode(request["body"]["Content"]["Raw"]["Data"]), policy=default
    )
    assert message["X-Sesmail-Id"] == "id-1"
    assert message["Bcc"] is None
    assert request["body"]["Destination"]["BccAddresses"] == ["dave@example.org"]
    assert {"Name": "sesmail-id", "Value": "id-1"} in request["body"]["EmailTags"]


def test_the_environment_points_it_at_another_endpoint(server, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_SESV2", server.url)
    assert SesTransport().send(an_email(), send_id="id-1") == "0100-made-up"


def test_the_environment_can_point_it_elsewhere_in_mid_life(server, monkeypatch):
    transport = SesTransport()
    monkeypatch.setenv("AWS_ENDPOINT_URL_SESV2", "http://127.0.0.1:1")
    with pytest.raises(SesUnavailable):
        transport.send(an_email(), send_id="id-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SESV2", server.url)
    assert transport.send(an_email(), send_id="id-1") == "0100-made-up"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    transport.send(an_email(), send_id="id-2")
    assert [request["headers"]["authorization"].split("/")[2] for request in server.requests] == [
        "us-east-1",
        "eu-west-1",
    ]


def test_one_client_is_kept_and_a_forked_child_makes_its_own(server):
    transport = SesTransport(region="eu-west-1", endpoint_url=server.url)
    transport.send(an_email(), send_id="id-1")
    way = transport._way_of_this_process()
    assert transport._way_of_this_process() is way
    way.place = (os.getpid() + 1, *way.place[1:])  # as a child finds it
    assert transport._way_of_this_process() is not way


def test_a_kept_connection_that_ses_has_closed_meanwhile_is_replaced_without_an_unknown_outcome(server, transport):
    server.reply = "accept_and_close"
    for n in range(3):
        server.closed.clear()
        transport.send(an_email(), send_id=f"id-{n}")
        assert server.closed.wait(5)
    assert len(server.requests) == 3


# The account

ACCOUNT = {
    "SendQuota": {"Max24HourSend": -1, "MaxSendRate": 14.0, "SentLast24Hours": 12.0},
    "SendingEnabled": True,
    "ProductionAccessEnabled": False,
    "EnforcementStatus": "HEALTHY",
}


def test_the_account_tells_its_limits_and_its_state(server, transport):
    server.reply = answer(200, ACCOUNT)
    assert transport.account() == Account(
        max_send_rate=14,
        max_24_hour_send=-1,
        sent_last_24_hours=12,
        sending_enabled=True,
        production_access=False,
        enforcement_status="HEALTHY",
    )
    assert server.requests[0]["line"] == "GET /v2/email/account HTTP/1.1"


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (answer(403, {"message": "no"}, "AccessDeniedException"), SesMisconfigured),
        (answer(429, {"message": "Rate exceeded"}, "TooManyRequestsException"), SendThrottled),
        (answer(500, {"message": ""}, "InternalFailure"), SesUnavailable),
        ("hang", SesUnavailable),
    ],
)
def test_asking_for_the_account_never_leaves_an_outcome_unknown(server, transport, reply, error):
    server.reply = reply
    with pytest.raises(error):
        transport.account()


# Mistakes of whoever set it up


def test_a_region_that_there_is_not_is_told_with_the_host_that_was_looked_for(monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL_SESV2", raising=False)
    monkeypatch.setattr("socket.getaddrinfo", unknown_host)
    with pytest.raises(
        SesUnavailable, match=r"email\.eu-wset-1\.amazonaws\.com: if this lasts, see whether the Region"
    ):
        SesTransport(region="eu-wset-1").account()


def unknown_host(*_: object, **__: object) -> None:
    raise OSError("Name or service not known")


def test_an_endpoint_that_does_not_answer_is_told_by_its_host():
    with pytest.raises(SesUnavailable, match=r"127\.0\.0\.1:1: if this lasts, see whether the endpoint's address"):
        SesTransport(region="us-east-1", endpoint_url="http://127.0.0.1:1").account()


def test_no_region_no_credentials_and_no_such_profile_are_told_with_the_setting(monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    with pytest.raises(SesMisconfigured, match="Set SESMAIL_REGION"):
        SesTransport().account()
    with pytest.raises(SesMisconfigured, match="SESMAIL_PROFILE"):
        SesTransport(region="us-east-1", profile="nosuch").account()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(SesMisconfigured, match="boto3 finds no credentials on this worker"):
        SesTransport(region="us-east-1", endpoint_url="http://127.0.0.1:1").account()
