"""What `Email` accepts, SES receives, equal in every field: hunted by Hypothesis, through Redis, a delivery and the wire."""

from __future__ import annotations

from email import message_from_bytes
from email.message import EmailMessage, Message
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Any

from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from sesmail.errors import InvalidEmail
from sesmail.message import Attachment, Email
from sesmail.message.addresses import bare_address, display_name
from sesmail.message.content_types import is_composite
from sesmail.ses.transport import SesTransport
from tests.contract.compose.conftest import SENDER, Post, Received
from tests.emails import hunted, quaint, texts

letters = st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters='<>"\\')
odd_names = st.text("aé,.@;'日🎉 ", max_size=30) | st.text(letters, max_size=60) | st.text("日本🎉é", max_size=120)
people = st.builds(
    '"{}" <p{}@{}>'.format,
    odd_names,
    st.integers(0, 9),
    st.sampled_from(["example.org", "bücher.example.org", "EXAMPLE.org"]),
)
types = st.sampled_from(
    [
        "text/csv",
        "text/csv; charset=iso-8859-1",
        "text/calendar; method=REQUEST;",
        "application/pdf",
        "message/rfc822",
        "message/delivery-status",
        "application/json",
        "image/png",
        'application/x; name="a b"',
        "message/global",
        None,
    ]
)
files = st.tuples(
    st.sampled_from(["a.pdf", "größe.txt", "noext", "a b;c.csv", 'q"uote.txt', "a.eml", "=?utf-8?q?x?=.txt"]),
    st.one_of(quaint, st.binary(max_size=40)),
    types,
)
mappings = st.fixed_dictionaries(
    {"filename": st.just("logo.png"), "content": st.just("png"), "content_id": st.sampled_from(["logo", "other@x"])},
    optional={"disposition": st.sampled_from(["inline", "attachment"])},
)


@st.composite
def nested(draw: Any, depth: int = 2) -> Message:
    kind = draw(st.sampled_from(["text", "bytes", "email", "multipart"] if depth else ["text", "bytes"]))
    if kind == "text":
        part: Message = MIMEText(draw(quaint), draw(st.sampled_from(["plain", "csv", "html"])), "utf-8")
    elif kind == "bytes":
        part = MIMEApplication(draw(st.binary(max_size=9)))
    elif kind == "email":
        message = EmailMessage()
        message["Subject"] = draw(quaint)
        message.set_content(draw(quaint) + "x" * draw(st.sampled_from([0, 1200])))
        part = message
    else:
        part = MIMEMultipart(
            draw(st.sampled_from(["mixed", "alternative"])), _subparts=draw(st.lists(nested(depth - 1), max_size=2))
        )
    if kind != "email" and draw(st.booleans()):
        part.add_header("Content-Disposition", draw(st.sampled_from(["inline", "attachment"])), filename="part.txt")
    return part


bodies = st.one_of(st.none(), quaint, st.just('<img src="cid:logo">'))
emails = st.fixed_dictionaries(
    {"to": st.lists(people, min_size=1, max_size=3), "subject": quaint},
    optional={
        "cc": st.lists(people, max_size=2),
        "bcc": st.lists(people, max_size=1),
        "reply_to": st.lists(people, max_size=1),
        "text": bodies,
        "html": bodies,
        "alternatives": st.lists(
            st.tuples(quaint, st.sampled_from(["text/x-amp-html", "text/calendar; method=REQUEST"])), max_size=2
        ),
        "attachments": st.lists(st.one_of(files, mappings, nested()), max_size=3),
        "headers": st.dictionaries(
            st.sampled_from(["X-A", "X-B", "Sender", "List-Id", "References"]), st.one_of(quaint, people), max_size=2
        ),
        "tags": st.dictionaries(st.sampled_from(["a", "b"]), st.integers(0, 9), max_size=2),
    },
)


def accepted(values: dict[str, Any]) -> Email | None:
    try:
        return Email(**({"from_email": SENDER} | values))
    except InvalidEmail:
        return None


def as_lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")


def meaning(part: Message) -> object:
    """What a part holds, whatever its form: bytes, or what its own parts hold."""
    if part.is_multipart():
        return [(each.get_content_type(), meaning(each)) for each in part.get_payload()]
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return (
        payload.replace(b"\r\n", b"\n").rstrip(b"\n") if part.get_content_maintype() in ("text", "message") else payload
    )


def check_received(email: Email, received: Received) -> None:
    assert received.record["recipients"] == [*email.recipients]
    assert received.record["tags"].items() >= email.tags.items()
    for name, mailboxes in (("To", email.to), ("Cc", email.cc), ("Reply-To", email.reply_to)):
        expected = [(" ".join(display_name(one).split()), bare_address(one)) for one in mailboxes]
        if "=?" not in "".join(mailboxes):  # encoded words are left as they were given, and read decoded
            found = received.mailboxes(name) if mailboxes else []
            assert [(" ".join(shown.split()), address) for shown, address in found] == expected
    if "=?" not in email.subject:
        assert " ".join(received.message["Subject"].split()) == " ".join(email.subject.split())
    parts = received.top_parts
    texts_ = [part for part in parts if part.get_content_disposition() is None]
    forms = [each for each in (email.text, email.html) if each is not None]
    found = [as_lines(part.get_payload(decode=True).decode(part.get_content_charset("utf-8"))) for part in texts_]
    assert [as_lines(form) for form in forms] == [one for one in found if one in map(as_lines, forms)][
        : len(forms)
    ] or not forms
    assert len(texts_) >= len(forms) + len(email.alternatives)
    files_ = [part for part in parts if part.get_content_disposition() is not None]
    assert sorted(map(said, files_)) == sorted(said(as_part(each)) for each in email.attachments)


def said(part: Message) -> tuple[object, ...]:
    content_id = str(part["Content-ID"] or "").strip("<>")
    charset = str(part.get_content_charset() or "")
    return (
        part.get_filename(),
        part.get_content_type(),
        charset,
        content_id,
        part.get_content_disposition(),
        repr(meaning(part)),
    )


def as_part(attachment: Attachment) -> Message:
    """A part that says what an attachment is to say."""
    head = f"Content-Type: {attachment.content_type}\r\n\r\n".encode()
    if is_composite(attachment.content_type):
        part: Message = message_from_bytes(head + attachment.content)
    else:
        part = message_from_bytes(head)
        part.set_payload(attachment.content)
    part.add_header("Content-Disposition", attachment.disposition or "", filename=("utf-8", "", attachment.filename))
    part["Content-ID"] = attachment.content_id or ""
    return part


@settings(
    max_examples=150,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(emails)
@example(
    {"to": ["a@example.org"], "subject": "", "attachments": [("a.eml", b"Subject: x\n\n\xff" + b"y" * 2000, None)]}
)
@example(
    {
        "to": ["a@example.org"],
        "subject": "",
        "html": "<img src=cid:logo>",
        "attachments": [{"filename": "logo.png", "content": "png", "content_id": "logo"}],
    }
)
def test_what_is_accepted_is_received_equal_in_every_field(post: Post, values: dict[str, Any]) -> None:
    if (email := accepted(values)) is not None:
        check_received(email, post.deliver(email))


anything = st.fixed_dictionaries(
    {"to": hunted["to"] | people, "subject": texts},
    optional={name: strategy for name, strategy in hunted.items() if name not in ("to", "subject")},
)


@settings(max_examples=150)
@given(emails | anything)
def test_whatever_is_accepted_can_be_composed(values: dict[str, Any]) -> None:
    """The constructor raises nothing but InvalidEmail, and composing nothing at all."""
    if (email := accepted(values)) is not None:
        SesTransport.compose(email, send_id="id-1")
        email.as_bytes()


def test_the_hunt_is_not_in_vain() -> None:
    found: list[Email | None] = []

    @settings(max_examples=200, database=None, derandomize=True)
    @given(emails)
    def look(values: dict[str, Any]) -> None:
        found.append(accepted(values))

    look()
    kept = [email for email in found if email is not None]
    assert len(kept) > 60
    assert sum(bool(email.attachments) for email in kept) > 20
