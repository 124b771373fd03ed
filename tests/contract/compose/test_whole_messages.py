"""Messages whose parts belong together, signed and encrypted ones above all, arrive byte by byte."""

from __future__ import annotations

import json
import zlib
from email import message_from_bytes, message_from_string
from email.message import EmailMessage, Message
from email.mime.application import MIMEApplication
from email.mime.image import MIMEImage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import SMTP, compat32, default

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.mail import EmailMultiAlternatives

from sesmail import InvalidEmail
from sesmail.message import Email
from sesmail.message.record import WHOLE
from sesmail.state.ledger.ledger import pack, unpack
from tests.contract.compose.conftest import Post, Received

KEY = Ed25519PrivateKey.generate()


def to_be_signed() -> bytes:
    """With all that generators like to change: long headers, blanks at the end of lines, dots, From."""
    message = EmailMessage(policy=SMTP)
    message.set_content("Hallo Jürg  \nFrom me\n.\n\n", cte="quoted-printable")
    message.add_attachment(b"%PDF" * 50, maintype="application", subtype="pdf", filename=f"{'Übersicht ' * 12}.pdf")
    del message["MIME-Version"]
    return message.as_bytes()


def signed(content: bytes, headers: bytes = b"") -> bytes:
    """By RFC 1847, as PGP/MIME and S/MIME do it."""
    signature = KEY.sign(content).hex().encode()
    return b"".join(
        [
            b"From: shop@example.com\r\nTo: Ann <ann@example.org>\r\nSubject: signed\r\nMIME-Version: 1.0\r\n",
            headers,
            b'Content-Type: multipart/signed; micalg="none"; protocol="application/x-test"; boundary="=-=-="\r\n\r\n',
            b"This is a signed message.\r\n--=-=-=\r\n",
            content,
            b"\r\n--=-=-=\r\nContent-Type: application/x-test\r\n\r\n",
            signature,
            b"\r\n--=-=-=--\r\n",
        ]
    )


def verify(raw: bytes) -> None:
    """What a reader does, with the bytes as they came."""
    _, content, signature, *_ = raw.split(b"\r\n--=-=-=")
    KEY.public_key().verify(bytes.fromhex(signature.partition(b"\r\n\r\n")[2].decode()), content.removeprefix(b"\r\n"))


def sent(post: Post, message: Message, **more: object) -> Received:
    return post.deliver(Email.from_message(message, **more))


@pytest.mark.parametrize("policy", [default, compat32, SMTP], ids=["default", "compat32", "SMTP"])
def test_a_signature_verifies_after_sending(post: Post, policy) -> None:
    received = sent(post, message_from_bytes(signed(to_be_signed()), policy=policy))
    verify(received.raw)
    assert received.message.get_content_type() == "multipart/signed"
    assert received.message.get_param("protocol") == "application/x-test"
    with pytest.raises(InvalidSignature):
        verify(received.raw.replace(b"From me", b"from me"))


def test_a_signature_verifies_beside_a_file_and_where_a_list_has_added_its_footer(post: Post) -> None:
    message = message_from_bytes(signed(to_be_signed()), policy=default)
    received = sent(post, message, attachments=[("a.txt", "x")])
    verify(received.raw)
    assert [part.get_content_type() for part in received.message.iter_parts()] == ["multipart/signed", "text/plain"]
    listed = MIMEMultipart(_subparts=[message_from_bytes(signed(to_be_signed())), MIMEText("footer")])
    received = sent(post, listed, to="ann@example.org")
    verify(received.raw)
    first, footer = received.message.iter_parts()
    assert (first.get_content_disposition(), footer.get_content().strip()) == (None, "footer")


def test_what_is_signed_and_would_be_changed_on_its_way_is_refused_in_words() -> None:
    for content in ("Content-Type: text/plain; charset=utf-8\r\n\r\nJürg".encode(), b"\r\n" + b"x" * 999):
        with pytest.raises(InvalidEmail, match="what is signed in it is not in lines of ASCII"):
            Email.from_message(message_from_bytes(signed(content)))


@pytest.mark.parametrize(
    ("kind", "second"),
    [
        (
            'encrypted; protocol="application/pgp-encrypted"',
            b"Content-Type: application/octet-stream\r\n\r\n-----BEGIN",
        ),
        (
            "report; report-type=delivery-status",
            b"Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x\r\n",
        ),
        ('report; report-type="disposition-notification"', b"Content-Type: text/plain\r\n\r\nread"),
        ("digest", b"\r\nSubject: second\r\n\r\nx"),
    ],
)
def test_what_belongs_together_stays_together_and_on_top(post: Post, kind: str, second: bytes) -> None:
    body = b"--=b=\r\nContent-Type: text/plain\r\n\r\nfirst\r\n--=b=\r\n" + second + b"\r\n--=b=--\r\n"
    head = f'To: ann@example.org\r\nSubject: s\r\nContent-Type: multipart/{kind}; boundary="=b="\r\n\r\n'.encode()
    message = message_from_bytes(head + body, policy=default)
    received = sent(post, message)
    assert received.raw.endswith(body)
    assert received.message["Content-Type"].params == message["Content-Type"].params
    assert received.message.get_content_type() == message.get_content_type()


def test_letters_in_a_report_are_encoded_where_they_are(post: Post) -> None:
    body = "--=b=\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nNicht zugestellt: Jürg\r\n--=b=--\r\n".encode()
    head = b'To: ann@example.org\r\nSubject: s\r\nContent-Type: multipart/report; boundary="=b="\r\n\r\n'
    received = sent(post, message_from_bytes(head + body, policy=default))
    (part,) = received.message.iter_parts()
    assert received.raw.isascii()
    assert part.get_content().strip() == "Nicht zugestellt: Jürg"


def test_an_s_mime_message_is_found_where_readers_look_for_it(post: Post) -> None:
    message = MIMEApplication(b"\x30\x80sealed", "pkcs7-mime", **{"smime-type": "enveloped-data", "name": "smime.p7m"})
    message.add_header("Content-Disposition", "attachment", filename="smime.p7m")
    received = sent(post, message, to="ann@example.org", subject="s").message
    assert received.get_content_type() == "application/pkcs7-mime"
    assert (received.get_param("smime-type"), received.get_param("name")) == ("enveloped-data", "smime.p7m")
    assert received.get_payload(decode=True) == b"\x30\x80sealed"


def test_a_page_with_files_among_its_parts_is_a_form_of_the_text(post: Post) -> None:
    """As Apple Mail writes it."""
    page = [MIMEText("<p>1", "html"), MIMEApplication(b"%PDF", "pdf"), MIMEText("<p>2", "html")]
    message = MIMEMultipart("alternative", _subparts=[MIMEText("plain"), MIMEMultipart("mixed", _subparts=page)])
    received = sent(post, message, to="ann@example.org", subject="s").message
    plain, mixed = received.iter_parts()
    assert (plain.get_content().strip(), mixed.get_content_disposition()) == ("plain", None)
    assert [part.get_content_type() for part in mixed.iter_parts()] == ["text/html", "application/pdf", "text/html"]


class SignedByDjango(EmailMultiAlternatives):
    """As sites do it that sign their email."""

    def message(self) -> Message:
        plain = super().message()
        message = message_from_bytes(signed(to_be_signed(), b"X-Signed-By: django\r\n"), policy=default)
        for name in ("Subject", "To"):
            del message[name]
            message[name] = plain[name]
        return message


class Otherwise(EmailMultiAlternatives):
    def _create_attachments(self, message: Message) -> Message:
        return MIMEMultipart("related", _subparts=[message, MIMEText("added by the class", "x-own")])


def test_a_class_of_one_s_own_that_puts_django_s_messages_together_otherwise_is_heeded(post: Post) -> None:
    said = ("Grüße", "text", "f@example.com", ["ann@example.org"], ["bcc@example.org"])
    django = SignedByDjango(*said, headers={"X-Own": "a"})
    received = sent(post, django)
    verify(received.raw)
    assert received.message["Subject"] == "Grüße"
    assert received.message["X-Own"] == "a"
    assert received.record["recipients"] == ["ann@example.org", "bcc@example.org"]
    added = [part for part in sent(post, Otherwise(*said)).parts if part.get_content_subtype() == "x-own"]
    assert [part.get_payload(decode=True) for part in added] == [b"added by the class"]


def test_older_workers_leave_it_and_it_comes_out_of_the_ledger_as_it_went_in() -> None:
    """They would encode what is signed."""
    email = Email.from_message(message_from_bytes(signed(to_be_signed())))
    record, blobs = pack(email)
    assert json.loads(record)["v"] == WHOLE
    assert unpack(record.encode(), [*map(zlib.compress, blobs.values())]) == email


def test_what_a_mapping_of_headers_or_one_sender_cannot_say_is_refused_not_dropped() -> None:
    message = EmailMessage()
    message["To"], message["X-Own"] = "ann@example.org", "a"
    message["X-Own"] = "b"
    with pytest.raises(InvalidEmail, match="X-Own stands in the message more than once"):
        Email.from_message(message)
    message = EmailMessage()
    message["To"], message["From"] = "ann@example.org", "a@example.com, b@example.com"
    with pytest.raises(InvalidEmail, match="several senders"):
        Email.from_message(message)
    for name in ("Subject", "From"):
        twice = message_from_string(f"To: ann@example.org\n{name}: a@example.com\n{name}: b@example.com\n\nHi.")
        with pytest.raises(InvalidEmail, match=f"{name} stands in the message more than once"):
            Email.from_message(twice)


def test_a_page_that_does_not_stand_first_beside_its_pictures_is_the_page(post: Post) -> None:
    picture = MIMEImage(b"\x89PNG", "png")
    picture["Content-ID"] = "<logo>"
    page = MIMEText("<img src=cid:logo>", "html")
    page["Content-ID"] = "<page>"
    related = MIMEMultipart("related", _subparts=[picture, page], start="<page>")
    for message in (related, MIMEMultipart("alternative", _subparts=[MIMEText("plain"), related])):
        parts = sent(post, message, to="ann@example.org", subject="s").parts
        assert [part.get_content_type() for part in parts][-2:] == ["text/html", "image/png"]
        assert parts[-2].get_content_disposition() is None


@pytest.mark.parametrize(
    "content_type",
    ["text/calendar; method=REQUEST", "text/plain; format=flowed; delsp=yes", "text/plain; charset=no-such", "text/x"],
)
def test_a_text_of_another_kind_is_the_text_and_no_file(post: Post, content_type: str) -> None:
    raw = f"To: ann@example.org\nSubject: s\nContent-Type: {content_type}\n\nHi \nthere."
    received = sent(post, message_from_string(raw, policy=default)).message
    given = message_from_string(raw)
    assert (received.get_params(), received.get_content_disposition()) == (given.get_params(), None)
    assert received.get_payload(decode=True) == b"Hi \nthere."


@pytest.mark.parametrize("policy", [default, compat32], ids=["default", "compat32"])
def test_headers_are_read_however_their_letters_are_written(policy) -> None:
    raw = "To: Jürg <a@example.org>\nSubject: Grüße\nX-Own: ü\n\nTöxt"
    for content in (
        raw.encode(),
        raw.replace("\n\n", "\nContent-Type: text/plain; charset=latin-1\n\n").encode("latin-1"),
    ):
        email = Email.from_message(message_from_bytes(content, policy=policy))
        assert (email.to, email.subject) == (("Jürg <a@example.org>",), "Grüße")
        assert (email.headers, email.text) == ({"X-Own": "ü"}, "Töxt")
    encoded = b"To: =?utf-8?q?J=C3=BCrg=2C_M=2E?= <a@example.org>, =?utf-8?b?w7w=?=\n <b@example.org>\n\n"
    email = Email.from_message(message_from_bytes(encoded, policy=policy))
    assert email.to == ('"Jürg, M." <a@example.org>', "ü <b@example.org>")


@pytest.mark.parametrize("policy", [default, compat32], ids=["default", "compat32"])
def test_a_file_s_name_is_read_however_its_letters_are_written(policy) -> None:
    head = (
        'Content-Type: application/pdf; name="größe.pdf"\nContent-Disposition: attachment; filename="größe.pdf"\n\n%PDF'
    )
    for content in (head.encode(), head.encode("cp1252")):
        email = Email("a@example.org", "s", attachments=[message_from_bytes(content, policy=policy)])
        assert (email.attachments[0].filename, email.attachments[0].content_type) == ("größe.pdf", "application/pdf")
