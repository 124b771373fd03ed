"""A message of Django's, or of Python's own, is taken without a loss: part by part as it would have been sent."""

from __future__ import annotations

import base64
from datetime import UTC, date, datetime
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.mime.application import MIMEApplication
from email.mime.image import MIMEImage
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import SMTP, compat32, default

import pytest
from anymail.message import AnymailMessage, attach_inline_image
from django.core.mail import EmailMessage as DjangoMessage
from django.core.mail import EmailMultiAlternatives
from hypothesis import given
from hypothesis import strategies as st

from sesmail import InvalidEmail
from sesmail.celery.send_task import email_of
from sesmail.message import Email
from tests.contract.compose.conftest import Post

PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=")
OF_SES = {"date", "message-id", "mime-version"}
OF_FORM = {"boundary", "charset", "name", "type"}
MINE = {"content-description", "content-language", "content-id", "content-location"}


def parsed(raw: bytes) -> EmailMessage:
    message = message_from_bytes(raw, policy=default)
    assert [part.defects for part in message.walk() if part.defects] == []
    return message


def leaves(part: Message) -> list[Message]:
    if part.get_content_maintype() == "multipart":
        return [leaf for each in part.get_payload() for leaf in leaves(each)]
    return [part]


def said(part: Message) -> tuple:
    """What a part says, but for how it is encoded: text as text, all else as bytes."""
    kind = part.get_content_type()
    if part.is_multipart():
        content: object = [said(leaf) for inner in part.get_payload() for leaf in leaves(inner)]
    elif part.get_content_maintype() == "text":
        content = part.get_payload(decode=True).decode(part.get_content_charset("utf-8"), "replace")
        content = content.replace("\r\n", "\n")
    else:
        content = part.get_payload(decode=True)
    parameters = {k: v for k, v in (part.get_params() or [])[1:] if k not in OF_FORM}
    headers = {k.lower(): " ".join(str(v).split()) for k, v in part.items() if k.lower() in MINE}
    is_file = part.get_content_disposition() is not None
    return kind, parameters, headers, part.get_content_disposition() if is_file else None, part.get_filename(), content


def own_headers(message: EmailMessage) -> list[tuple[str, object]]:
    return [(k, v) for k, v in message.items() if k.lower() not in OF_SES and not k.lower().startswith("content-")]


# -- Django's ---------------------------------------------------------------------------------------------------------

words = st.text(st.sampled_from("abc äßЖ日😀.-'&<>\"\\;,"), min_size=1, max_size=12).map(str.strip).filter(bool)
lines = st.text(st.sampled_from("abc äß日😀.\n"), min_size=1, max_size=60).filter(str.strip)
names = st.builds(
    "{}{}".format,
    st.text(st.sampled_from("ab ä日_-"), min_size=1, max_size=10),
    st.sampled_from([".pdf", ".txt", ".csv"]),
)
addresses = st.integers(0, 99).map("p{}@example.org".format)
mailboxes = addresses | st.builds(
    '"{}" <{}>'.format,
    st.text(st.sampled_from("Abc äß日."), min_size=1, max_size=10).map(str.strip).filter(bool),
    addresses,
)
tuples = st.one_of(
    st.tuples(
        names, st.binary(max_size=30), st.sampled_from(["application/pdf", "image/png", "application/octet-stream"])
    ),
    st.tuples(names, lines, st.sampled_from(["text/csv", "text/plain", "text/calendar"])),
)


def part_of(kind: str, text: str, data: bytes, description: str) -> Message:
    made = {
        "text": lambda: MIMEText(text, "csv", "utf-8"),
        "latin": lambda: MIMEText(text.encode("latin-1", "ignore").decode("latin-1"), "csv", "iso-8859-1"),
        "pdf": lambda: MIMEApplication(data, "pdf"),
        "picture": lambda: MIMEImage(b"\x89PNG" + data, "png"),
    }[kind]()
    made["Content-Description"] = description
    made.add_header("Content-Disposition", "attachment" if kind != "picture" else "inline", filename=f"{kind}.bin")
    if kind == "picture":
        made["Content-ID"] = f"<{abs(hash(data))}@example.com>"
    return made


parts = st.builds(
    part_of, st.sampled_from(["text", "latin", "pdf", "picture"]), lines, st.binary(max_size=20), st.sampled_from("abc")
)
headers = st.dictionaries(
    st.sampled_from(["X-A", "X-B", "List-Id", "In-Reply-To"]), st.sampled_from(["a", "<b@example.com>"]), max_size=3
)


@given(
    subject=words,
    body=lines,
    sender=mailboxes,
    people=st.lists(mailboxes, min_size=3, max_size=6, unique_by=lambda one: one.rpartition("<")[2].rstrip(">")),
    html=st.none() | lines,
    other=st.none() | st.tuples(lines, st.sampled_from(["text/calendar; method=REQUEST", "text/calendar"])),
    attachments=st.lists(tuples | parts, max_size=3),
    headers=headers,
)
def test_whatever_django_would_send_is_sent_part_by_part(
    subject, body, sender, people, html, other, attachments, headers
) -> None:
    django = EmailMultiAlternatives(
        subject, body, sender, people[:1], bcc=people[1:2], cc=people[2:3], reply_to=people[3:], headers=headers
    )
    if html is not None:
        django.attach_alternative(html, "text/html")
    if other is not None:
        django.attach_alternative(*other)
    for each in attachments:
        django.attach(each) if isinstance(each, Message) else django.attach(*each)
    email = Email.from_message(django)
    assert sorted(email.recipients) == sorted(one.rpartition("<")[2].rstrip(">") for one in people[:3])
    ours, theirs = parsed(email.as_bytes()), parsed(django.message().as_bytes())
    for name in ("From", "To", "Cc", "Reply-To"):
        if name in theirs:
            pairs = [
                [(" ".join(each.display_name.split()), each.addr_spec) for each in message[name].addresses]
                for message in (ours, theirs)
            ]
            assert pairs[0] == pairs[1]
            del ours[name], theirs[name]
    files = [part for part in leaves(ours) if part.get_content_disposition()]
    check_parts(leaves(ours), leaves(theirs))
    assert {k: str(v) for k, v in own_headers(ours)} == {k: str(v) for k, v in own_headers(theirs)}
    assert len(files) == len(attachments)


def check_parts(ours: list[Message], theirs: list[Message]) -> None:
    """All of them, whatever their order: pictures stand with the page that shows them."""
    assert sorted(map(said, ours), key=repr) == sorted(map(said, theirs), key=repr)


def test_a_message_of_html_alone_is_html() -> None:
    django = DjangoMessage("s", "<p>ä", "f@example.com", ["t@example.org"])
    django.content_subtype = "html"
    email = Email.from_message(django)
    assert (email.text, email.html) == (None, "<p>ä")


def test_what_anymail_adds_is_understood() -> None:
    message = AnymailMessage(
        "s",
        "t",
        "f@example.com",
        ["t@example.org"],
        metadata={"order": 1},
        tags=["spring"],
        send_at=datetime(2030, 1, 1, tzinfo=UTC),
        esp_extra={
            "ConfigurationSetName": "events",
            "EmailTags": [{"Name": "a", "Value": "b"}],
            "TenantName": "shop",
        },
    )
    cid = attach_inline_image(message, PIXEL, "logo.png")
    message.attach_alternative(f'<img src="cid:{cid}">', "text/html")
    email = Email.from_message(message)
    assert email.metadata == {"order": 1}
    assert email.tags == {"a": "b", "spring": "1"}
    assert email.send_at == datetime(2030, 1, 1, tzinfo=UTC)
    assert (email.configuration_set, dict(email.ses)) == ("events", {"TenantName": "shop"})
    assert (email.attachments[0].content_id, email.attachments[0].disposition) == (cid, "inline")
    message.send_at = date(2030, 1, 2)
    assert Email.from_message(message).send_at.year in (2029, 2030)
    message.send_at = 1_893_456_000
    assert Email.from_message(message).send_at == datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "value"),
    [("template_id", "t"), ("merge_data", {"a": {}}), ("envelope_sender", "a@b.com"), ("track_opens", True)],
)
def test_what_an_email_cannot_say_is_refused_by_name(name: str, value: object) -> None:
    message = AnymailMessage("s", "t", "f@example.com", ["t@example.org"])
    setattr(message, name, value)
    with pytest.raises(InvalidEmail) as caught:
        Email.from_message(message)
    assert caught.value.field == name


def test_a_to_header_that_is_not_the_recipients_is_refused_and_a_from_header_is_the_sender() -> None:
    django = DjangoMessage("s", "t", "f@example.com", ["t@example.org"], headers={"To": "list@example.org"})
    with pytest.raises(InvalidEmail, match="To says others"):
        Email.from_message(django)
    django = DjangoMessage(
        "s",
        "t",
        "bounces@example.com",
        ["t@example.org"],
        headers={"To": "T <t@example.org>", "From": "Ann <ann@example.com>"},
    )
    email = Email.from_message(django, lane="bulk")
    assert (email.from_email, email.to, email.headers, email.lane) == (
        "Ann <ann@example.com>",
        ("t@example.org",),
        {},
        "bulk",
    )


def test_a_message_can_be_given_to_the_task(post: Post) -> None:
    django = DjangoMessage("Grüße", "t", "f@example.com", ["t@example.org"])
    assert email_of(django) == Email.from_message(django)
    received = post.deliver(email_of(django))
    assert received.message["Subject"] == "Grüße"
    for wrong in ("text", None, 5, object()):
        with pytest.raises(InvalidEmail, match="message"):
            Email.from_message(wrong)


# -- Python's ---------------------------------------------------------------------------------------------------------


def full(policy=default) -> EmailMessage:
    message = EmailMessage(policy=policy)
    message["From"] = "Jürg Müller <shop@example.com>"
    message["To"] = 'Ann <ann@example.org>, "Lee, Bob" <bob@example.org>'
    message["Cc"] = "c@example.org"
    message["Bcc"] = "secret@example.org"
    message["Reply-To"] = "help@example.com"
    message["Subject"] = "Grüße aus Köln " * 10
    message["X-Own"] = "Größe"
    message["Date"] = "Mon, 01 Jan 2029 00:00:00 +0000"
    message["Message-ID"] = "<a@example.com>"
    message.set_content("Hallo Jürg\n")
    message.add_alternative('<p>Hallo <img src="cid:logo">\n', subtype="html")
    message.get_body(("html",)).add_related(
        b"\x89PNG", "image", "png", cid="<logo>", filename="logo.png", disposition="inline"
    )
    message.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="größe.pdf")
    message.add_attachment("ä;b\n", subtype="csv", filename="a.csv")
    inner = EmailMessage()
    inner["Subject"] = "inner"
    inner.set_content("inner\n")
    message.add_attachment(inner, filename="inner.eml")
    return message


@pytest.mark.parametrize("way", ["built", "read anew", "read as compat32"])
def test_an_email_message_of_python_s_arrives_as_it_is(post: Post, way: str) -> None:
    message: Message = full()
    if way == "read anew":
        message = message_from_bytes(full().as_bytes(policy=SMTP), policy=default)
    elif way == "read as compat32":
        message = message_from_bytes(full().as_bytes(), policy=compat32)
    email = Email.from_message(message)
    assert email.to == ("Ann <ann@example.org>", '"Lee, Bob" <bob@example.org>')
    assert (email.cc, email.bcc, email.reply_to) == (("c@example.org",), ("secret@example.org",), ("help@example.com",))
    assert (email.from_email, email.subject) == ("Jürg Müller <shop@example.com>", ("Grüße aus Köln " * 10).strip())
    assert email.headers == {"X-Own": "Größe"}
    received = post.deliver(email)
    check_parts(received.parts, leaves(full()))


@pytest.mark.parametrize(
    "body",
    [
        MIMEText("text", "plain"),
        MIMEText("<p>html", "html", "utf-8"),
        MIMEApplication(b"%PDF", "pdf"),
        MIMEMultipart("mixed", _subparts=[MIMEText("a"), MIMEText("<p>b", "html")]),
        MIMEMultipart("mixed", _subparts=[MIMEApplication(b"1", "pdf"), MIMEText("footer")]),
        MIMEMultipart("alternative", _subparts=[MIMEText("a"), MIMEText("B", "x-amp-html"), MIMEText("<p>b", "html")]),
        MIMEMultipart("related", _subparts=[MIMEText("<p>b", "html"), MIMEImage(b"\x89PNG", "png")]),
        MIMEMultipart(
            "mixed",
            _subparts=[
                MIMEMultipart(
                    "related",
                    _subparts=[MIMEMultipart("alternative", _subparts=[MIMEText("a"), MIMEText("b", "html")])],
                ),
                MIMEMessage(MIMEText("inner")),
            ],
        ),
        MIMEMultipart(
            "alternative", _subparts=[MIMEMultipart("mixed", _subparts=[MIMEText("odd"), MIMEText("odder")])]
        ),
    ],
    ids=range(9),
)
def test_no_part_is_lost_whatever_the_structure(body: Message) -> None:
    body["To"], body["Subject"] = "ann@example.org", "s"
    ours = parsed(Email.from_message(body).as_bytes())
    mine, theirs = (
        [(one[0], one[5]) for one in map(said, leaves(ours))],
        [(one[0], one[5]) for one in map(said, leaves(body))],
    )
    assert [one for one in theirs if one not in mine] == []
    assert len(mine) == len(theirs)
