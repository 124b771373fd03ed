"""What those who come from Flask-Mail write, as emails."""

from __future__ import annotations

import pytest
from flask import Flask

from sesmail import InvalidEmail, send_ses_email
from sesmail.contrib.flask import Message, SESMail


@pytest.fixture
def mail():
    app = Flask("site")
    app.config.update(
        TESTING=True, SESMAIL_REDIS_URL="redis://127.0.0.1:1/0", MAIL_DEFAULT_SENDER=("The Shop", "shop@example.com")
    )
    mail = SESMail(app)
    with app.app_context():
        yield mail


def test_a_message_of_flask_mail_arrives_as_it_is(mail):
    message = Message(
        "Welcome",
        recipients=["ann@example.org", ("Bob, the second", "bob@example.org")],
        body="Hi.",
        html="<img src='cid:logo'>",
        alts={"calendar": "BEGIN:VCALENDAR\nEND:VCALENDAR"},
        cc=["cc@example.org"],
        bcc=["bcc@example.org"],
        reply_to="help@example.com",
        extra_headers={"X-Mine": "1"},
        charset="utf-8",
        sesmail={"lane": "bulk", "tags": {"kind": "welcome"}},
    )
    message.add_recipient("carl@example.org")
    message.attach("a.txt", "text/plain", "text")
    message.attach("logo.png", "image/png", b"\x89PNG", "inline", {"Content-ID": "<logo>"})
    with mail.record_messages() as outbox:
        assert mail.send(message)
        (email,) = outbox.box.emails
    assert email.to == ("ann@example.org", '"Bob, the second" <bob@example.org>', "carl@example.org")
    assert (email.cc, email.bcc, email.reply_to) == (("cc@example.org",), ("bcc@example.org",), ("help@example.com",))
    assert (email.from_email, email.lane, email.headers) == ("The Shop <shop@example.com>", "bulk", {"X-Mine": "1"})
    assert [each.content_type for each in email.alternatives] == ["text/calendar"]
    assert [(each.filename, each.disposition) for each in email.attachments] == [
        ("a.txt", "attachment"),
        ("logo.png", "inline"),
    ]


def test_recorded_messages_are_those_of_delay_too_and_look_as_theirs_do(mail):
    with mail.record_messages() as outbox:
        assert len(outbox) == 0
        mail.send_message("One", recipients=["ann@example.org"], body="Hi.")
        send_ses_email.delay("bob@example.org", "Two", "Hi.", from_email="shop@example.com")
        with mail.connect() as connection:
            connection.send(Message("Three", ["ann@example.org"], "Hi.", sender="own@example.com"))
        assert [each.subject for each in outbox] == ["One", "Two", "Three"]
        assert (outbox[1].recipients, outbox[1].body) == (["bob@example.org"], "Hi.")
        assert outbox[-1].sender == "own@example.com"
        assert [each.subject for each in outbox[:2]] == ["One", "Two"]


def test_what_ses_would_refuse_is_refused_at_the_call(mail):
    with mail.record_messages() as outbox, pytest.raises(InvalidEmail, match="to"):
        mail.send(Message("s", recipients=["nobody"], body="t"))
    assert len(outbox) == 0


def test_flask_mails_own_attachments_are_taken(mail):
    class Attachment:  # of flask_mail
        filename, content_type, data, disposition, headers = "a.txt", "text/plain", b"text", "attachment", None

    with mail.record_messages() as outbox:
        mail.send(Message("s", ["ann@example.org"], "t", attachments=[Attachment()]))
        assert outbox[0].attachments[0].content == b"text"
