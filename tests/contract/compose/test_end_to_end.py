"""What `Email` accepts, SES receives, equal in every field: hunted by Hypothesis, through Redis, a delivery and the wire."""

from __future__ import annotations

from email import message_from_bytes
from email.header import Header, decode_header, make_header
from email.message import EmailMessage, Message
from email.mime.application import MIMEApplication
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import getaddresses
from io import BytesIO
from typing import Any

from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from sesmail.errors import InvalidEmail
from sesmail.message import Attachment, Email
from sesmail.message.addresses import bare_address, display_name, mailbox_of
from sesmail.message.content_types import is_composite
from sesmail.message.headers import is_structured
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
        "text/csv; charset=utf-16",
        "text/plain; charset=shift_jis",
        'text/plain; charset="nobody-knows"; format=flowed',
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
    st.sampled_from(
        [
            "a.pdf",
            "größe.txt",
            "noext",
            "a b;c.csv",
            'q"uote.txt',
            "a.eml",
            "=?utf-8?q?x?=.txt",
            "1/2: a?.txt",
            "日" * 85,
        ]
    ),
    st.one_of(quaint, st.binary(max_size=40), st.builds(BytesIO, st.binary(max_size=9))),
    types,
)
mappings = st.fixed_dictionaries(
    {"filename": st.just("logo.png"), "content": st.just("png"), "content_id": st.sampled_from(["logo", "other@x"])},
    optional={"disposition": st.sampled_from(["inline", "attachment"])},
)
pictures = st.builds(Attachment.inline, st.binary(max_size=9), st.sampled_from(["logo.png", "größe.png", None]))
CHARSETS = ["utf-8", "iso-8859-15", "koi8-r", "utf-16", "iso-2022-jp"]


@st.composite
def nested(draw: Any, depth: int = 2) -> Message:
    kinds = ["text", "bytes", "email", "older email", "multipart"] if depth else ["text", "bytes"]
    kind = draw(st.sampled_from(kinds))
    if kind == "text":
        charset = draw(st.sampled_from(CHARSETS))
        text = draw(quaint).encode(charset, "ignore").decode(charset)
        part: Message = MIMEText(text, draw(st.sampled_from(["plain", "csv", "html", "calendar"])), charset)
    elif kind == "bytes":
        part = MIMEApplication(draw(st.binary(max_size=9)))
    elif kind == "email":
        message = EmailMessage()
        message["Subject"] = draw(quaint)
        message.set_content(draw(quaint) + "x" * draw(st.sampled_from([0, 1200])))
        message.add_attachment(
            b"x", maintype="image", subtype="png", filename=draw(st.sampled_from(["a.png", "ü.png"]))
        )
        part = draw(st.sampled_from([message, MIMEMessage(message)]))
    elif kind == "older email":
        older = MIMEText(draw(quaint), "plain", "utf-8")
        older["Subject"] = Header(draw(quaint), "utf-8")
        message = EmailMessage()
        message["Subject"] = "about another"
        message.set_content("see")
        message.add_attachment(older)
        part = draw(st.sampled_from([older, message]))
    else:
        part = MIMEMultipart(
            draw(st.sampled_from(["mixed", "alternative", "related", "report"])),
            _subparts=draw(st.lists(nested(depth - 1), max_size=2)),
        )
    if "email" not in kind and draw(st.booleans()):
        part.add_header("Content-Disposition", draw(st.sampled_from(["inline", "attachment"])), filename="part.txt")
    return part


bodies = st.one_of(st.none(), quaint, st.just('<img src="cid:logo">'), st.just("line\n" * 3 + "y" * 1500))
forms = st.tuples(
    st.one_of(quaint, st.binary(max_size=20)),
    st.sampled_from(
        [
            "text/x-amp-html",
            "text/calendar; method=REQUEST",
            "text/markdown; charset=iso-8859-1; variant=GFM",
            "text/plain; format=flowed",
            "text/html",
        ]
    ),
)
values = st.one_of(quaint, st.text(letters, max_size=200), st.integers(-9, 9), st.floats(allow_nan=False))
emails = st.fixed_dictionaries(
    {"to": st.lists(people, min_size=1, max_size=3), "subject": quaint},
    optional={
        "cc": st.lists(people, max_size=2),
        "bcc": st.lists(people, max_size=1),
        "reply_to": st.lists(people, max_size=1),
        "text": bodies,
        "html": bodies,
        "alternatives": st.lists(forms, max_size=3),
        "attachments": st.lists(st.one_of(files, mappings, pictures, nested()), max_size=3),
        "headers": st.one_of(
            st.dictionaries(st.sampled_from(["X-A", "x-b", "Comments"]), values, max_size=2),
            st.dictionaries(
                st.sampled_from(["Sender", "Resent-To", "List-Id", "References"]), st.one_of(quaint, people), max_size=2
            ),
            st.dictionaries(st.integers(1, 15).map("X-{}".format), values, min_size=15),  # which goes Raw
        ),
        "tags": st.dictionaries(st.sampled_from(["a", "b"]), st.integers(0, 9), max_size=2),
    },
)


NOT_ON_WINDOWS = str.maketrans(dict.fromkeys('/\\:*?"<>|', "_"))


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
    check_headers(email, received)
    check_forms(email, received)
    files_ = [part for part in received.top_parts if part.get_content_disposition() is not None]
    assert sorted(map(said, files_)) == sorted(said(as_part(each)) for each in email.attachments)


def check_headers(email: Email, received: Received) -> None:
    raw = message_from_bytes(received.raw)
    for name, value in email.headers.items():
        (found,) = raw.get_all(name)
        if "=?" in value:
            continue
        if value.isascii():
            assert found == value
        elif name == "List-Id":
            phrase, _, list_id = found.partition(" <")
            assert (without_blanks(decoded(phrase)), list_id) == (
                without_blanks(display_name(value)),
                value.rpartition(" <")[2],
            )
        elif is_structured(name):
            ((shown, address),) = getaddresses([found])
            mailbox = mailbox_of(name, value)
            assert address == bare_address(mailbox)
            assert without_blanks(decoded(shown)) == without_blanks(display_name(mailbox))
        else:
            assert without_blanks(decoded(found)) == without_blanks(value)


def without_blanks(text: str) -> str:
    """At the ends, and more than one: between encoded words they mean nothing."""
    return " ".join(text.split())


def decoded(found: str) -> str:
    return str(make_header(decode_header(found)))


def check_forms(email: Email, received: Received) -> None:
    """Each form of the text, from the plainest on, with its type, its parameters and its bytes."""
    bodies = [(0, "text/plain", email.text), (2, "text/html", email.html)]
    wanted = [(place, kind, {}, as_lines(text)) for place, kind, text in bodies if text is not None]
    for each in email.alternatives:
        part = message_from_bytes(f"Content-Type: {each.content_type}\r\n\r\n".encode())
        parameters = dict((part.get_params() or [])[1:])
        wanted.append((each.place, part.get_content_type(), parameters, each.content))
    found = [part for part in received.top_parts if part.get_content_disposition() is None]
    wanted.sort(key=lambda form: form[0])
    if not wanted:
        assert [part.get_payload(decode=True) for part in found] in ([], [b""])
        return
    assert len(found) == len(wanted)
    for part, (_, kind, parameters, content) in zip(found, wanted, strict=True):
        payload = part.get_payload(decode=True)
        assert part.get_content_type() == kind
        if isinstance(content, str):
            assert as_lines(payload.decode(part.get_content_charset("utf-8"))) == content
        else:
            assert (dict((part.get_params() or [])[1:]), payload) == (parameters, content)


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
    filename = attachment.filename.translate(NOT_ON_WINDOWS)
    part.add_header("Content-Disposition", attachment.disposition or "", filename=("utf-8", "", filename))
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

    @settings(max_examples=400, database=None, derandomize=True)
    @given(emails)
    def look(values: dict[str, Any]) -> None:
        found.append(accepted(values))

    look()
    kept = [email for email in found if email is not None]
    assert len(kept) > 120
    assert sum(bool(email.attachments) for email in kept) > 30
