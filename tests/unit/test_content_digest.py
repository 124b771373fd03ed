"""What makes an email another one under the same idempotency key. Callers of two releases must be told the same."""

from __future__ import annotations

from email.message import EmailMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

from sesmail import Email
from sesmail.message.content import FORM, content_digest

PLAIN = Email("ann@example.org", "Hello", "Hi.", from_email="shop@example.com")
RICH = Email(
    ["Ann <ann@bücher.example>", "bob@example.org"],
    "Grüße",
    "Hi.",
    "<p>Hi.</p>",
    cc="cid@example.org",
    reply_to="help@example.com",
    alternatives=[("BEGIN:VCALENDAR", "text/calendar; method=REQUEST")],
    attachments=[("a.txt", "one", "text/plain")],
)


def test_digests_are_those_of_the_releases_before_which_are_kept_in_redis_for_a_week():
    assert (content_digest(PLAIN), content_digest(RICH)) == ("1i1Yao4iWFY0TR4OMxebB", "1Q0td9scnA7GsTngamqR3")


def test_a_digest_says_its_form_and_fits_into_a_value_of_words():
    assert content_digest(PLAIN)[0] == FORM
    assert " " not in content_digest(RICH)


def test_a_body_is_not_taken_for_a_file_nor_one_reader_for_another():
    others = [
        Email("ann@example.org", "Hello", None, "Hi."),
        Email("ann@example.org", "Hello", attachments=[("Hi.", "", "text/plain")]),
        Email("ann@example.org", "Hello", "Hi."),
        Email("bob@example.org", "Hello", "Hi.", cc="ann@example.org"),
        Email("bob@example.org", "Hello", "Hi.", bcc="ann@example.org"),
        Email("bob@example.org", "Hello", "Hi.", reply_to="ann@example.org"),
    ]
    assert len({content_digest(email) for email in others}) == len(others)


def test_the_order_of_readers_and_the_spelling_of_their_addresses_do_not_matter():
    one = Email(["Ann <ann@bücher.example>", "bob@example.org"], "Hello", "Hi.")
    other = Email(["bob@example.org", "ann@xn--bcher-kva.example"], "Hello", "Hi.")
    assert content_digest(one) == content_digest(other)


def test_a_message_that_is_made_anew_is_the_same():
    def made() -> Email:
        message = EmailMessage()
        message["To"], message["Subject"], message["From"] = "ann@example.org", "Hello", "shop@example.com"
        message.set_content("Hi.")
        message.add_attachment(b"1", maintype="text", subtype="plain", filename="a.txt")
        return Email.from_message(message)

    assert content_digest(made()) == content_digest(made())


def test_parts_of_parts_that_are_made_anew_are_the_same_though_their_boundaries_are_not():
    def made(text: str) -> Email:
        inner = EmailMessage()
        inner["Subject"] = "forwarded"
        inner.set_content(text)
        inner.add_alternative("<p>Hi.", subtype="html")
        inner.add_attachment(b"1", maintype="image", subtype="png")
        report = MIMEMultipart("report", _subparts=[MIMEText(text)])
        return Email.from_message(report, to="ann@example.org", subject="s", attachments=[inner])

    one, again = made("Hi."), made("Hi.")
    assert one.attachments != again.attachments
    assert content_digest(one) == content_digest(again) != content_digest(made("Ho."))
