"""Hypothesis hunts for values that get past Email and would not get past a strict reader of the standards."""

from __future__ import annotations

import json
import re
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sesmail.message import Email
from sesmail.message.addresses import bare_address, display_name, encoded_mailbox
from sesmail.message.headers import encoded_header
from sesmail.message.record import attach, detach
from tests.emails import constructed, good_mailboxes, keywords, mailboxes, texts


def parsed(mailbox: str):
    """The mailbox as the standard library's parser of RFC 5322 reads it from a header."""
    message = EmailMessage(policy=default)
    message["To"] = encoded_mailbox(mailbox)
    assert not message["To"].defects
    (address,) = message["To"].addresses
    return address


def check_mailbox(mailbox: str) -> None:
    on_the_wire = encoded_mailbox(mailbox)
    assert re.fullmatch(r"[ -~]+", on_the_wire)
    address = parsed(mailbox)
    bare = bare_address(mailbox)
    # The standard library forgets the quotes of a local part whose only sin is its dots, such as "."@example.com.
    assert address.addr_spec == bare or (bare.startswith('"') and f'"{address.username}"@{address.domain}' == bare)
    if "=?" not in display_name(mailbox):  # an encoded word is left as it was given, and reads decoded
        assert " ".join(address.display_name.split()) == " ".join(display_name(mailbox).split())
    assert len(address.username) <= 64
    assert all(re.fullmatch(r"(?!-)[a-z0-9-]{1,63}(?<!-)", label) for label in address.domain.split("."))
    assert address.domain.count(".") >= 1


def check_strictly(email: Email) -> None:
    for mailbox in (*email.to, *email.cc, *email.bcc, *email.reply_to, *filter(None, [email.from_email])):
        check_mailbox(mailbox)
    assert len({*map(str.lower, email.recipients)}) == len(email.recipients) == email.recipient_count in range(1, 51)
    assert email.subject.isprintable() or not re.search(r"[\r\n\0]", email.subject)
    for name, value in email.headers.items():
        assert re.fullmatch(r"[!-9;-@A-~]{1,126}", name)
        assert re.fullmatch(r"[ -~]{1,995}", encoded_header(name, value))
    for name, value in email.tags.items():
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,256}", name)
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,256}", value)
    assert not any(re.search(r"[\0\x1b\x7f]", body) for body in (email.text, email.html) if body)
    for each in email.attachments:
        assert 1 <= len(each.filename) <= 255
        assert not re.search(r"[\r\n\0]", each.filename)
        assert re.fullmatch(r"[!-~]+/[ -~]+", each.content_type)


@settings(max_examples=300)
@given(keywords)
@example({"to": '"" <a@example.org>', "subject": "", "text": "a"})
@example({"to": '"=?utf-8?q?a?=" <a@example.org>', "subject": "", "text": "a"})
def test_whatever_constructs_is_strictly_valid_and_survives_json(values):
    if (email := constructed(values)) is None:
        return
    check_strictly(email)
    record, parts = detach(email)
    assert attach(json.loads(json.dumps(record).encode()), parts) == email
    assert attach(json.loads(json.dumps(record, ensure_ascii=False).encode()), parts) == email


@settings(max_examples=300)
@given(st.one_of(mailboxes, good_mailboxes))
@example('"."@a.com')
def test_whatever_address_constructs_reads_the_same_from_a_header_and_is_stable(mailbox):
    if email := constructed({"to": mailbox, "subject": "", "text": "a"}):
        check_mailbox(email.to[0])
        assert Email(email.to[0], "", "a") == email


anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.binary(), texts, st.datetimes(), st.lists(texts, max_size=2),
    st.dictionaries(texts, texts, max_size=2), st.tuples(texts, st.binary(), st.none()), st.lists(st.none(), max_size=2),
    st.dictionaries(st.integers(), st.none(), max_size=1), st.complex_numbers(), st.just(object()), st.just(Email), st.sets(texts),
)  # fmt: skip
FIELDS = [
    "to", "subject", "text", "html", "from_email", "cc", "bcc", "reply_to", "headers", "attachments", "tags", "metadata",
    "configuration_set", "lane", "send_at", "expires_at", "idempotency_key", "message", "html_message",
    "ses",
]  # fmt: skip


@settings(max_examples=400)
@given(st.dictionaries(st.sampled_from(FIELDS), anything, max_size=3))
def test_a_value_of_any_type_is_taken_or_refused_as_an_invalid_email(values):
    constructed({"to": "a@example.org", "subject": "", "text": "a"} | values)


@settings(max_examples=200)
@given(keywords)
def test_whatever_constructs_reads_the_same_from_its_mime_message(values):
    if (email := constructed(values)) is None:
        return
    raw = email.as_bytes()
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    message = message_from_bytes(raw, policy=default)
    if email.to:
        read = [address.addr_spec.replace('"', "") for address in message["To"].addresses]
        assert read == [bare_address(mailbox).replace('"', "") for mailbox in email.to]
    body = message.get_body(("plain",))
    assert (email.text or "").splitlines() == (body.get_content() if email.text else "").splitlines()
    files = [part for part in message.walk() if part.get_content_disposition()]
    assert {part.get_payload(decode=True) for part in files} == {each.content for each in email.attachments}


def test_the_hunt_is_not_in_vain():
    """Enough of what the strategies make gets through for the tests above to mean something."""
    found = []

    @settings(max_examples=200, database=None, derandomize=True)
    @given(keywords)
    def look(values):
        found.append(constructed(values))

    look()
    assert sum(email is not None for email in found) > 30
