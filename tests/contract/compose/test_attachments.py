"""Files, forwarded emails and parts arrive as they were given; Django's own message is the measure."""

from __future__ import annotations

import base64
import io
import os
import re
import tempfile
from email.encoders import encode_base64
from email.generator import BytesGenerator
from email.header import Header
from email.message import EmailMessage, Message
from email.mime.application import MIMEApplication
from email.mime.base import MIMEBase
from email.mime.image import MIMEImage
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.parser import BytesParser
from email.policy import SMTP, compat32, default
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import InMemoryUploadedFile, SimpleUploadedFile, TemporaryUploadedFile
from django.core.mail import EmailMessage as DjangoMessage
from werkzeug.datastructures import FileStorage

from sesmail import InvalidEmail
from sesmail.message import Attachment, Email
from tests.contract.compose.conftest import Post, Received

REPORT = (
    b"Reporting-MTA: dns; mx.example.org\n\nFinal-Recipient: rfc822; a@example.org\nAction: failed\nStatus: 5.1.1\n"
)
CALENDAR = "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nSUMMARY:Größe\r\nEND:VCALENDAR\r\n"


def forwarded(body: str = "Grüße aus Köln\n", **headers: str) -> EmailMessage:
    message = EmailMessage()
    for name, value in {"From": "Jürg <juerg@example.org>", "To": "b@example.org", "Subject": "Ä", **headers}.items():
        message[name] = value
    message.set_content(body)
    return message


def django_part(attachment: object, content_type: str | None = None) -> Message:
    """The same attachment as Django would send it, as Python's parser reads it."""
    message = DjangoMessage("s", "b", "f@example.com", ["t@example.org"])
    if isinstance(attachment, Message):
        message.attach(attachment)
    else:
        message.attach(*attachment)
    buffer = io.BytesIO()
    BytesGenerator(buffer, policy=compat32).flatten(message.message())
    parsed = BytesParser(policy=default).parsebytes(buffer.getvalue())
    (part,) = [part for part in parsed.iter_parts() if content_type in (None, part.get_content_type())][-1:]
    return part


def text(part: EmailMessage) -> str:
    return part.get_content().replace("\r\n", "\n")


def deliver(post: Post, attachment: object, **email: object) -> Received:
    return post.deliver("ann@example.org", "Hello", "See attached.", attachments=[attachment], **email)


# -- reports of delivery ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["delivery-status", "report.txt", "größe.txt"])
@pytest.mark.parametrize("headers", [0, 15])
@pytest.mark.parametrize("beside", [[], [("ä.txt", b"1")]])
def test_1_a_report_of_delivery_arrives_in_lines_of_its_own(post: Post, name: str, headers: int, beside: list) -> None:
    received = post.deliver(
        "ann@example.org",
        "bounce report",
        "see attached",
        attachments=[(name, REPORT, "message/delivery-status"), *beside],
        headers={f"X-{n}": "1" for n in range(headers)},
    )
    part = received.part("message/delivery-status")
    assert part["Content-Transfer-Encoding"] is None
    assert part.get_filename() == name
    assert [dict(block.items()) for block in part.get_payload()] == [
        {"Reporting-MTA": "dns; mx.example.org"},
        {"Final-Recipient": "rfc822; a@example.org", "Action": "failed", "Status": "5.1.1"},
    ]


def test_1_the_parts_of_a_bounce_that_was_received_can_be_sent_on(post: Post) -> None:
    bounce = MIMEMultipart("report", report_type="delivery-status")
    bounce.attach(MIMEText("It bounced.\n"))
    bounce.attach(BytesParser(policy=compat32).parsebytes(b"Content-Type: message/delivery-status\n\n" + REPORT))
    bounce.attach(MIMEMessage(forwarded()))
    for policy in (default, compat32):
        read = BytesParser(policy=policy).parsebytes(bounce.as_bytes())
        received = post.deliver("ann@example.org", "Hello", "Hi.", attachments=read.get_payload())
        assert [part.get_content_type() for part in received.parts] == [
            "text/plain",
            "text/plain",
            "message/delivery-status",
            "message/rfc822",
        ]
        assert received.parts[2].get_payload()[1]["Action"] == "failed"
        assert received.parts[3].get_content()["Subject"] == "Ä"


# -- forwarded emails -------------------------------------------------------------------------------------------------


def ways_to_forward(message: EmailMessage, folder: Path) -> dict[str, object]:
    file = folder / "original.eml"
    file.write_bytes(message.as_bytes())
    django = DjangoMessage(message["Subject"], message.get_content(), "juerg@example.org", ["b@example.org"])
    return {
        "bytes": ("original.eml", message.as_bytes()),
        "bytes with CRLF": ("original.eml", message.as_bytes(policy=SMTP)),
        "bytes in eight bits": ("original.eml", message.as_bytes(policy=SMTP.clone(cte_type="8bit"))),
        "text": ("original.eml", message.as_string(), "message/rfc822"),
        "another name": ("größe.eml", message.as_bytes(), "message/rfc822"),
        "path": file,
        "object": message,
        "object in a tuple": ("original.eml", message),
        "object with a type": ("original.eml", message, "message/rfc822"),
        "part": MIMEMessage(message),
        "path in a tuple": ("original.eml", file),
        "attachment": Attachment("original.eml", message),
        "Django's": ("original.eml", django),
        "Django's alone": django,
        "base64 by mistake": base64_part(message),
        "base64 in JSON": {
            "filename": "original.eml",
            "content_base64": base64.encodebytes(message.as_bytes()).decode(),
        },
        "file": io.BytesIO(message.as_bytes()),
    }


def base64_part(message: EmailMessage) -> MIMEBase:
    part = MIMEBase("message", "rfc822")
    part.set_payload(message.as_bytes())
    encode_base64(part)
    return part


@pytest.mark.parametrize("way", [*ways_to_forward(forwarded(), Path(tempfile.mkdtemp()))])
def test_4_a_forwarded_email_can_be_read_as_in_django(post: Post, tmp_path: Path, way: str) -> None:
    given = ways_to_forward(forwarded(), tmp_path)[way]
    if way == "file":
        given = ("original.eml", given)
    received = deliver(post, given)
    part = received.part("message/rfc822")
    assert (part["Content-Transfer-Encoding"] or "7bit") == "7bit"
    assert part.get_content_disposition() == "attachment"
    assert part.get_filename().endswith(".eml")
    inner = part.get_content()
    assert (inner["Subject"], text(inner)) == ("Ä", "Grüße aus Köln\n")
    assert b"\n" not in received.raw.replace(b"\r\n", b""), "bare line feeds are refused by many servers"
    assert received.raw.isascii()
    if way in ("bytes", "object", "part"):
        theirs = django_part(("original.eml", forwarded().as_bytes(), "message/rfc822"), "message/rfc822")
        assert text(theirs.get_payload(0)) == text(inner)


def test_4_an_email_with_long_lines_nested_parts_and_raw_letters_arrives_readable(post: Post) -> None:
    inner = MIMEMultipart()
    inner["Subject"] = "nested"
    long = MIMEText("x" * 3000, "html", "us-ascii")
    raw = Message()
    raw["Content-Type"] = 'text/plain; charset="utf-8"'
    raw["Content-Transfer-Encoding"] = "8bit"
    raw.set_payload("Jürg".encode())
    inner.attach(long)
    inner.attach(raw)
    inner.attach(MIMEMessage(forwarded("Jürg\n" + "y" * 2000)))
    received = deliver(post, ("nested.eml", inner.as_bytes()))
    got = received.part("message/rfc822").get_content()
    assert [part.get_content_type() for part in got.iter_parts()] == ["text/html", "text/plain", "message/rfc822"]
    html, plain, again = got.iter_parts()
    assert html.get_content().strip() == "x" * 3000
    assert plain.get_content() == "Jürg"
    assert again.get_content().get_content().startswith("Jürg")
    assert max(map(len, received.raw.split(b"\r\n"))) <= 998


@pytest.mark.parametrize("content", [b"\xff\xfe\0 no email", "Größe".encode(), b"x" * 2000, b"\0"])
def test_4_what_only_claims_to_be_an_email_arrives_byte_for_byte(post: Post, content: bytes) -> None:
    received = deliver(post, ("odd.eml", content, "message/rfc822"))
    (part,) = [part for part in received.parts if part.get_filename() == "odd.eml"]
    got = part.get_content()
    assert (
        content in (got, got.as_bytes() if isinstance(got, Message) else None)
        or part.get_content_type() == "message/rfc822"
    )


def test_4_an_email_that_windows_has_saved_with_a_mark_before_it_is_one(post: Post) -> None:
    received = deliver(post, ("saved.eml", b"\xef\xbb\xbfSubject: inner\r\n\r\nHi."))
    assert received.part("message/rfc822").get_content()["Subject"] == "inner"


def older() -> Message:
    """As programs write it that know `email.header.Header`."""
    message = MIMEText("Grüße", "plain", "utf-8")
    message["Subject"] = Header("Ä", "utf-8")
    message.add_header("Content-Disposition", "inline", filename=("utf-8", "", "ü.txt"))
    return message


def newer() -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "Ä"
    message.add_attachment("Grüße", filename="ü.txt", disposition="inline")
    return message


@pytest.mark.parametrize("outer", ["older", "newer"])
@pytest.mark.parametrize("inner", [older, newer])
def test_4_an_email_in_one_of_the_other_kind_keeps_its_headers(post: Post, inner, outer: str) -> None:
    """Python writes the headers of both as the outer one has them, or stumbles over those of the inner."""
    if outer == "older":
        message: Message = MIMEMultipart(_subparts=[MIMEText("see"), MIMEMessage(inner())])
        message["Subject"] = Header("Über", "utf-8")
    else:
        message = EmailMessage()
        message["Subject"] = "Über"
        message.set_content("see")
        message.add_attachment(inner())
    got = deliver(post, message).part("message/rfc822").get_content()
    again = next(part for part in got.walk() if part.get_content_type() == "message/rfc822").get_content()
    (file,) = [part for part in again.walk() if part.get_filename()]
    assert (got["Subject"], again["Subject"], file.get_filename()) == ("Über", "Ä", "ü.txt")
    assert file.get_payload(decode=True).decode().strip() == "Grüße"


# -- parts ------------------------------------------------------------------------------------------------------------


def invitation() -> MIMEText:
    part = MIMEText(CALENDAR, "calendar", "utf-8")
    part.set_param("method", "REQUEST")
    return part


def named(part: Message, disposition: str, filename: str, **headers: str) -> Message:
    part.add_header(
        "Content-Disposition", disposition, filename=filename if filename.isascii() else ("utf-8", "", filename)
    )
    for name, value in headers.items():
        part[name.replace("_", "-")] = value
    return part


def report() -> MIMEBase:
    part = MIMEBase("message", "delivery-status")
    for block in REPORT.split(b"\n\n"):
        part.attach(BytesParser(policy=compat32).parsebytes(block + b"\n\n"))
    return part


PARTS = {
    "Latin-1": named(MIMEText("Jürg;1", "csv", "iso-8859-1"), "attachment", "a.csv"),
    "invitation": invitation(),
    "Gmail's": named(MIMEApplication(b"%PDF-1.4", "pdf"), "attachment", "invoice.pdf", Content_ID="<f_kx0abc0>"),
    "picture": named(MIMEImage(b"\x89PNG", "png"), "inline", "logo.png", Content_ID="<logo@example.com>"),
    "described": named(
        MIMEApplication(b"1", "pdf"), "attachment", "größe.pdf", Content_Description="Die Größe", Content_Language="de"
    ),
    "flowed": MIMEText("a \nb", "plain", "utf-8"),
    "report": report(),
    "several": MIMEMultipart("alternative", _subparts=[MIMEText("ä"), MIMEText("<p>ä", "html")]),
    "nothing": MIMEApplication(b"", "pdf"),
}


def shown(part: Message) -> tuple:
    """What a part says: type, parameters but for those of its own form, name, disposition, other headers, content."""
    parameters = {k: v for k, v in (part.get_params() or [])[1:] if k not in ("boundary", "name")}
    headers = {k: str(v) for k, v in part.items() if k in ("Content-ID", "Content-Description", "Content-Language")}
    content = [shown(each) for each in part.iter_parts()] if part.is_multipart() else part.get_payload(decode=True)
    return part.get_content_type(), parameters, headers, content


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("headers", [0, 15])
def test_5_a_part_is_carried_as_it_is(post: Post, name: str, headers: int) -> None:
    part = PARTS[name]
    received = post.deliver(
        "ann@example.org", "s", "t", attachments=[part], headers={f"X-{n}": "1" for n in range(headers)}
    )
    ours, theirs = [*received.message.iter_parts()][-1], django_part(part)
    assert shown(ours) == shown(theirs)
    assert ours.get_content_disposition() == (theirs.get_content_disposition() or "attachment")
    assert ours.get_filename() == (theirs.get_filename() or ours.get_filename())


def test_5_the_part_that_was_given_is_not_changed() -> None:
    part = MIMEMultipart("alternative", _subparts=[MIMEText("ä")])
    Email("ann@example.org", "s", "t", attachments=[part])
    assert part.get_boundary() is None


def test_6_an_attachment_with_a_content_id_is_a_file_unless_the_html_shows_it(post: Post) -> None:
    pdf = PARTS["Gmail's"]
    for page, disposition, beside in [
        ("<p>see attached", "attachment", "multipart/mixed"),
        ('<img src="cid:f_kx0abc0">', "inline", "multipart/related"),
        ("<img src='CID:f%5fkx0abc0'>", "inline", "multipart/related"),
    ]:
        for headers in ({}, {f"X-{n}": "1" for n in range(15)}):
            message = deliver(post, pdf, html=page, headers=headers).message
            (part,) = [each for each in message.walk() if each.get_content_type() == "application/pdf"]
            assert part.get_content_disposition() == disposition
            assert part["Content-ID"] == "<f_kx0abc0>"
            (holder,) = [each for each in message.walk() if each.is_multipart() and part in each.get_payload()]
            assert holder.get_content_type() == beside


def test_a_disposition_can_be_chosen(post: Post) -> None:
    received = post.deliver(
        "ann@example.org",
        "s",
        "t",
        attachments=[Attachment("a.pdf", b"1", disposition="inline"), Attachment("b.pdf", b"2", content_id="b")],
    )
    assert [part.get_content_disposition() for part in received.parts] == [None, "inline", "attachment"]


PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=")


def test_a_picture_has_a_cid_of_its_own_and_is_shown_where_the_html_uses_it(post: Post, tmp_path: Path) -> None:
    (tmp_path / "logo.png").write_bytes(PIXEL)
    logo, same, other = (
        Attachment.inline(tmp_path / "logo.png"),
        Attachment.inline(tmp_path / "logo.png"),
        Attachment.inline(PIXEL),
    )
    assert logo.cid == same.cid != other.cid
    assert (other.filename, other.content_type) == ("picture.png", "image/png")
    received = post.deliver("ann@example.org", "s", "t", f'<img src="cid:{logo.cid}">', attachments=[logo])
    part = received.part("image/png")
    assert (part["Content-ID"], part.get_content_disposition()) == (f"<{logo.cid}>", "inline")
    assert part.get_content() == PIXEL


# -- files ------------------------------------------------------------------------------------------------------------

LINES = b"a;b\n1;2\n3;4\n"


def files(folder: Path) -> dict[str, tuple[object, str, str]]:
    """Objects that can be read, with the name and the type under which they must arrive."""
    (folder / "list.csv").write_bytes(LINES)
    upload = TemporaryUploadedFile("list.csv", "text/csv", 12, "utf-8")
    upload.write(LINES)
    half_read = io.BytesIO(LINES)
    half_read.read(5)
    return {
        "open file": ((folder / "list.csv").open("rb"), "list.csv", "text/csv"),
        "open text file": ((folder / "list.csv").open(), "list.csv", "text/csv"),
        "BytesIO": (io.BytesIO(LINES), "attachment-1.bin", "application/octet-stream"),
        "StringIO": (io.StringIO(LINES.decode()), "attachment-1.bin", "application/octet-stream"),
        "half read": (half_read, "attachment-1.bin", "application/octet-stream"),
        "Django's upload": (SimpleUploadedFile("list.csv", LINES, "text/csv"), "list.csv", "text/csv"),
        "Django's upload in memory": (
            InMemoryUploadedFile(io.BytesIO(LINES), "f", "list.csv", "text/csv", 12, None),
            "list.csv",
            "text/csv",
        ),
        "Django's upload on disk": (upload, "list.csv", "text/csv"),
        "Django's content": (ContentFile(LINES, "list.csv"), "list.csv", "text/csv"),
        "Django's text": (ContentFile(LINES.decode(), "list.csv"), "list.csv", "text/csv"),
        "Flask's upload": (
            FileStorage(io.BytesIO(LINES), filename="list.csv", name="field", content_type="text/csv"),
            "list.csv",
            "text/csv",
        ),
        "temporary file": (temporary(), "attachment-1.bin", "application/octet-stream"),
    }


def temporary() -> object:
    file = tempfile.TemporaryFile()  # noqa: SIM115  closed with the test
    file.write(LINES)
    return file


@pytest.mark.parametrize(
    "way",
    [
        "open file",
        "open text file",
        "BytesIO",
        "StringIO",
        "half read",
        "Django's upload",
        "Django's upload in memory",
        "Django's upload on disk",
        "Django's content",
        "Django's text",
        "Flask's upload",
        "temporary file",
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_7_what_can_be_read_is_one_attachment_wherever_it_is_given(tmp_path: Path, way: str) -> None:
    file, name, kind = files(tmp_path)[way]
    given = {"alone": file, "listed": [file], "in a tuple": [(None, file)], "in a mapping": [{"content": file}]}
    for where, attachments in given.items():
        (found,) = Email("ann@example.org", "s", "t", attachments=attachments).attachments
        assert (found.filename, found.content_type, found.content) == (name, kind, LINES), where
    direct = Attachment("x.txt", file, "text/plain")
    assert (direct.filename, direct.content_type, direct.content) == ("x.txt", "text/plain", LINES)
    (renamed,) = Email("ann@example.org", "s", "t", attachments=[("x.txt", file, "text/plain")]).attachments
    assert (renamed.filename, renamed.content_type, renamed.content) == ("x.txt", "text/plain", LINES)


def test_7_an_upload_arrives_and_an_empty_one_too(post: Post) -> None:
    received = post.deliver("ann@example.org", "s", "t", attachments=SimpleUploadedFile("list.csv", LINES, "text/csv"))
    assert received.part("text/csv").get_payload(decode=True) == LINES
    received = post.deliver("ann@example.org", "s", "t", attachments=io.BytesIO())
    assert received.parts[-1].get_payload(decode=True) == b""


class Uploaded:
    """As Starlette's UploadFile: `read` is to be awaited."""

    def __init__(self, content: bytes) -> None:
        self.file, self.filename, self.content_type = io.BytesIO(content), "a.pdf", "application/pdf"

    async def read(self, size: int = -1) -> bytes:
        return self.file.read(size)


def test_7_an_upload_of_an_asynchronous_framework_is_read_by_its_file() -> None:
    (found,) = Email("ann@example.org", "s", "t", attachments=Uploaded(b"%PDF")).attachments
    assert (found.filename, found.content, found.content_type) == ("a.pdf", b"%PDF", "application/pdf")


def test_7_a_file_that_cannot_be_read_is_refused_in_words() -> None:
    closed = io.BytesIO(b"1")
    closed.close()
    with pytest.raises(InvalidEmail, match=r"attachments\[0\].content: the file cannot be read"):
        Email("ann@example.org", "s", "t", attachments=[closed])


# -- what SES refuses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["c.js", "C.EXE", "a.b.vbs", "ca.crt", "matrix.mat", "x.js.", "größe.bat"])
def test_8_a_file_that_ses_refuses_is_refused_at_the_call(name: str) -> None:
    for given in [(name, b"1"), {"filename": name, "content": "1"}, named(MIMEApplication(b"1"), "attachment", name)]:
        with pytest.raises(InvalidEmail) as caught:
            Email("ann@example.org", "s", "t", attachments=[given])
        assert caught.value.field == "attachments[0].filename"
        assert "SES sends no email with a ." in caught.value.problem


@pytest.mark.parametrize("name", ["js", "a.json", "exe.txt", ".htaccess", "a.js.txt"])
def test_8_a_name_that_only_looks_like_one_is_sent(post: Post, name: str) -> None:
    assert deliver(post, (name, b"1")).parts[-1].get_filename() == name


@pytest.mark.parametrize("headers", [0, 15])
def test_8_letters_in_a_name_that_ses_refuses_travel_as_one_that_it_takes(post: Post, headers: int) -> None:
    name = r'2026/11: "größe"? <a|b>\*.pdf'
    for given in (name, name.replace("ö", "oe").replace("ß", "ss")):
        email = Email(
            "ann@example.org", "s", "t", headers={f"X-{n}": "1" for n in range(headers)}, attachments=[(given, b"1")]
        )
        assert email.attachments[0].filename == given
        (part,) = [part for part in post.deliver(email).parts if part.get_filename()]
        assert part.get_filename() == re.sub(r'[\\/:*?"<>|]', "_", given)


# -- text -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "content_type", "content"),
    [
        (("a.csv", "Jürg", "text/csv; charset=iso-8859-1"), "text/csv; charset=iso-8859-1", b"J\xfcrg"),
        (("a.csv", "Jürg €", "text/csv; charset=iso-8859-1"), "text/csv; charset=utf-8", "Jürg €".encode()),
        (("a.csv", "Jürg", 'text/csv; header=present; charset="no-such"'), "text/csv; header=present; charset=utf-8", "Jürg".encode()),
        (("a.csv", "Größe,Jürg".encode()), "text/csv; charset=utf-8", "Größe,Jürg".encode()),
        (("a.csv", "plain"), "text/csv", b"plain"),
        (("a.csv", b"J\xfcrg"), "text/csv", b"J\xfcrg"),
        (("a.csv", b"J\xfcrg", "text/csv; charset=iso-8859-1"), "text/csv; charset=iso-8859-1", b"J\xfcrg"),
        (("a.json", '{"a": "ü"}'), "application/json", '{"a": "ü"}'.encode()),
        (("i.ics", CALENDAR, "text/calendar; method=REQUEST;"), "text/calendar; method=REQUEST; charset=utf-8", CALENDAR.encode()),
        (("a.pdf", b"1", 'application/pdf ;name="a b.pdf"; '), 'application/pdf; name="a b.pdf"', b"1"),
        (("a.pdf", b"1", f"application/pdf; name={'n' * 100}"), f"application/pdf; name={'n' * 100}", b"1"),
    ],
)  # fmt: skip
def test_11_the_type_says_what_the_bytes_are(post: Post, given: tuple, content_type: str, content: bytes) -> None:
    part = deliver(post, given).parts[-1]
    assert (part["Content-Type"].replace('"', ""), part.get_payload(decode=True)) == (
        content_type.replace('"', ""),
        content,
    )


def test_11_a_text_file_from_disk_reads_as_django_s_does(post: Post, tmp_path: Path) -> None:
    file = tmp_path / "u.csv"
    file.write_text("Größe,Jürg", encoding="utf-8")
    ours = deliver(post, file).parts[-1]
    theirs = django_part(("u.csv", file.read_bytes(), "text/csv"))
    assert ours.get_content() == theirs.get_content() == "Größe,Jürg"
    assert ours.get_content_charset() == theirs.get_content_charset() == "utf-8"


@pytest.mark.parametrize("written", [base64.encodebytes, base64.b64encode])
@pytest.mark.parametrize("break_", ["\n", "\r\n", "\r\n ", ""])
def test_12_base64_may_have_the_line_breaks_of_mime(written, break_: str) -> None:
    content = bytes(range(256)) * 3
    encoded = written(content).decode().replace("\n", break_)
    (found,) = Email(
        "a@example.org", "s", "t", attachments={"filename": "a.bin", "content_base64": encoded}
    ).attachments
    assert found.content == content


def test_12_base64_may_be_in_the_alphabet_for_urls() -> None:
    content = b"\xfb\xff\xfe" * 3
    encoded = base64.urlsafe_b64encode(content).decode()
    assert "-" in encoded
    given = {"filename": "a.bin", "content_base64": encoded}
    assert Email("a@example.org", "s", "t", attachments=given).attachments[0].content == content


def test_12_what_a_browser_made_of_a_file_is_told_apart_from_base64() -> None:
    with pytest.raises(InvalidEmail, match="is not base64: leave out what stands before the comma"):
        Email("a@example.org", "s", attachments={"filename": "a.txt", "content_base64": "data:text/plain;base64,MQ=="})


@pytest.mark.parametrize("encoded", ["MQ=", "M Q", "MQ==!", "ü", 5, None, "MQ==MQ=="])
def test_12_what_is_not_base64_is_refused(encoded: object) -> None:
    with pytest.raises(InvalidEmail):
        Email("a@example.org", "s", "t", attachments={"filename": "a.bin", "content_base64": encoded})


# -- names ------------------------------------------------------------------------------------------------------------


def test_18_a_name_on_disk_that_is_not_utf_8_is_read_as_windows_wrote_it(post: Post, tmp_path: Path) -> None:
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/gr\xfc\xdfe \x80.pdf"))
    file.write_bytes(b"%PDF")
    assert deliver(post, file).parts[-1].get_filename() == "grüße €.pdf"


def test_18_a_name_in_encoded_words_is_decoded(post: Post) -> None:
    part = MIMEApplication(b"%PDF", "pdf")
    part["Content-Disposition"] = 'attachment; filename="=?utf-8?b?R3LDtsOfZS5wZGY=?="'
    received = deliver(post, BytesParser(policy=compat32).parsebytes(part.as_bytes()))
    assert received.parts[-1].get_filename() == "Größe.pdf"
