"""What `sesmail.contrib.django.EmailBackend` makes of messages, one by one; nothing is sent."""

from __future__ import annotations

import logging
import traceback
from datetime import UTC, datetime
from pathlib import Path

import pytest
from anymail.message import AnymailMessage
from django.core import mail
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.utils.functional import SimpleLazyObject, lazystr

import sesmail
from sesmail import InvalidEmail, LedgerUnavailable, current_client
from sesmail.celery.current import close_clients
from sesmail.contrib.django import EmailBackend, outgoing
from sesmail.doors.prometheus import text
from sesmail.ses.roles import Key
from sesmail.settings import load


@pytest.fixture(autouse=True)
def told_anew(monkeypatch):
    monkeypatch.setattr(outgoing, "_told", set())


def message(**said) -> EmailMessage:
    return EmailMessage(**{"subject": "s", "body": "t", "from_email": "f@example.com", "to": ["a@example.org"], **said})


def send(*messages, **options) -> int:
    return EmailBackend(**options).send_messages(messages)


def people(count: int, name: str = "p") -> list[str]:
    return [f"{name}{n}@example.org" for n in range(count)]


def test_the_number_accepted_is_answered_and_each_message_knows_its_sends(box):
    one, nobody, other = message(), message(to=[]), message(to=["b@example.org"])
    assert send(one, nobody, other) == 2
    assert [one.sesmail_ids, other.sesmail_ids] == [[each.id] for each in box.sends]
    assert not hasattr(nobody, "sesmail_ids")
    assert EmailBackend().send_messages([]) == 0


def test_messages_may_come_from_an_iterator_and_an_international_domain_is_understood(box):
    messages = (message(to=[f"p{number}@bücher.example.org"]) for number in range(3))
    with EmailBackend() as connection:
        assert connection.send_messages(messages) == 3
    assert box.emails[2].recipients == ("p2@xn--bcher-kva.example.org",)


def test_lazy_texts_and_addresses_are_read(box):
    letter = EmailMultiAlternatives(
        lazystr("Grüße"), lazystr("t"), "f@example.com", [SimpleLazyObject(lambda: "a@example.org")]
    )
    letter.attach_alternative(lazystr("<p>t"), "text/html")
    assert send(letter) == 1
    assert (box.emails[0].subject, box.emails[0].html) == ("Grüße", "<p>t")


def test_headers_that_only_ses_sets_are_left_out_with_a_reason_and_its_own_are_understood(box, caplog):
    caplog.set_level(logging.INFO, "sesmail")
    headers = {
        "Message-ID": "<a@example.com>",
        "Date": "Mon, 01 Jan 2029 00:00:00 +0000",
        "To": "list@example.org",
        "Return-Path": "b@example.com",
        "X-SES-SOURCE-ARN": "arn:aws:ses:eu-west-1:123456789012:identity/example.com",
        "X-SES-CONFIGURATION-SET": "events",
        "X-SES-MESSAGE-TAGS": "campaign=spring, kind=news",
        "X-Empty": "",
        "X-Mine": 5,
        "From": "Ann <ann@example.com>",
    }
    assert send(message(headers=headers), message(headers=headers)) == 2
    email = box.emails[0]
    assert dict(email.headers) == {"X-Mine": "5"}
    assert (email.to, email.from_email) == (("a@example.org",), "Ann <ann@example.com>")
    assert (email.configuration_set, email.tags) == ("events", {"campaign": "spring", "kind": "news"})
    told = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert len(told) == 6  # once each, not for every message
    assert not [one for one in told if "@" in one]


def test_a_sender_that_nobody_has_set_is_the_one_of_the_settings_or_refused_by_name(box, django_site):
    assert send(message(from_email=None), message(from_email="root@localhost")) == 2
    assert {email.from_email for email in box.emails} == {"shop@example.com"}
    django_site.SESMAIL = {}
    close_clients()
    with pytest.raises(InvalidEmail, match="from_email"):
        send(message(from_email=None))


def test_many_readers_in_bcc_get_it_by_several_emails_and_many_in_to_are_refused(box):
    mailing = message(to=["a@example.org"], bcc=["A <a@example.org>", *people(120), "P0@example.org"])
    assert send(mailing) == 1
    assert [len(email.recipients) for email in box.emails] == [50, 50, 21]
    assert [email.to for email in box.emails] == [("a@example.org",), (), ()]
    assert sorted(one for email in box.emails for one in email.recipients) == sorted(["a@example.org", *people(120)])
    assert mailing.sesmail_ids == [each.id for each in box.sends]
    with pytest.raises(InvalidEmail, match="at most 50"):
        send(message(to=people(51)))
    assert len(box.sends) == 3


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"lanes": "bulk"}, "no argument lanes: did you mean lane="),
        ({"recipients": ["ann@example.org"]}, "did you mean to="),
        ("bulk", "is of type str, not a mapping"),
    ],
)
def test_what_a_message_says_of_its_own_and_no_email_has_is_refused_by_name(box, said, told):
    own = message()
    own.sesmail = said
    with pytest.raises(InvalidEmail, match=told):
        send(own)
    assert send(own, message(), fail_silently=True) == 1


def test_options_hold_for_all_and_what_a_message_says_goes_before_them(box):
    own = message()
    own.sesmail = {"lane": "transactional", "tags": {"kind": "own"}, "expires_at": datetime(2100, 1, 1, tzinfo=UTC)}
    options = {"lane": "bulk", "configuration_set": "events", "tags": {"kind": "all", "site": "shop"}}
    assert send(message(), own, **options) == 2
    plain, said = box.emails
    assert (plain.lane, plain.configuration_set, plain.tags) == ("bulk", "events", {"kind": "all", "site": "shop"})
    assert (said.lane, said.configuration_set, said.tags) == (
        "transactional",
        "events",
        {"kind": "own", "site": "shop"},
    )
    assert said.expires_at.year == 2100


def test_the_option_account_names_the_ses_account_unless_a_message_names_its_own_and_an_unknown_one_is_refused(
    django_site, box, caplog
):
    django_site.SESMAIL = {**django_site.SESMAIL, "ACCOUNTS": {"news": {"region": "eu-west-1"}, "other": {}}}
    close_clients()
    own = message()
    own.sesmail = {"account": "other"}
    assert send(message(), own, account="news") == 2
    assert send(message()) == 1
    assert [email.account for email in box.emails] == ["news", "other", None]
    with pytest.raises(InvalidEmail, match="account: is no account of SESMAIL_ACCOUNTS"):
        send(message(), account="nosuch")
    assert send(message(), account="nosuch", fail_silently=True) == 0
    assert "SESMAIL_ACCOUNTS" in caplog.text
    assert len(box.emails) == 3


def test_what_anymail_adds_is_taken_and_tracking_is_left_to_the_configuration_set(box):
    letter = AnymailMessage("s", "t", "f@example.com", ["a@example.org"], tags=["Spring sale"], metadata={"order": 1})
    letter.track_opens = True
    assert send(letter) == 1
    assert (box.emails[0].tags, box.emails[0].metadata) == ({"Spring_sale": "1"}, {"order": 1})
    assert letter.track_opens is True


def test_one_wrong_message_of_several_is_told_before_any_is_queued(box):
    with pytest.raises(InvalidEmail, match="to"):
        send(message(), message(to=["nobody"]), message())
    box.assert_nothing_sent()


def test_with_fail_silently_the_others_go_and_the_log_says_what_did_not(box, caplog):
    assert send(message(), message(to=["nobody"]), message(), fail_silently=True) == 2
    assert len(box.sends) == 2
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "fail_silently" in record.getMessage()
    assert "is not an email address" in record.getMessage()
    assert "nobody" not in record.getMessage().replace("whoever", "")


def test_a_ledger_that_is_away_is_raised_or_with_fail_silently_logged(box, caplog):
    with box.redis_away():
        with pytest.raises(LedgerUnavailable):
            send(message())
        assert send(message(), fail_silently=True) == 0
    assert "LedgerUnavailable" in {getattr(record, "error", "") for record in caplog.records}


def test_no_frame_of_ours_shows_the_message_that_was_refused(box):
    refused = message(to=["secret@nowhere"])
    with pytest.raises(InvalidEmail) as raised:
        send(refused)
    ours = str(Path(sesmail.__file__).parent)
    frames = [frame for frame, _ in traceback.walk_tb(raised.tb) if frame.f_code.co_filename.startswith(ours)]
    assert frames
    assert [
        frame for frame in frames if "secret@nowhere" in repr(frame.f_locals) or refused in frame.f_locals.values()
    ] == []


def test_what_is_not_accepted_in_silence_is_counted(django_site, redis_server, redis):
    django_site.SESMAIL = {"REDIS_URL": redis_server.url, "FROM_EMAIL": "shop@example.com", "SUPPRESS_SEND": False}
    close_clients()
    assert send(message(to=["nobody"]), message(to=["nobody either"]), fail_silently=True) == 0
    assert current_client().meters.not_accepted() == {"InvalidEmail": 2}
    assert 'sesmail_not_accepted_total{error="InvalidEmail"} 2.0' in text(current_client())


def test_an_admin_handler_on_our_own_log_does_not_go_round_and_round(box):
    class ToTheAdmins(logging.Handler):
        calls = 0

        def emit(self, record):
            ToTheAdmins.calls += 1
            send(message(to=["nobody either"]), fail_silently=True)

    handler = ToTheAdmins(logging.ERROR)
    logging.getLogger("sesmail").addHandler(handler)
    try:
        assert send(message(to=["nobody"]), fail_silently=True) == 0
    finally:
        logging.getLogger("sesmail").removeHandler(handler)
    assert ToTheAdmins.calls == 1


def test_a_configuration_set_that_is_a_function_is_asked_for_each_message(box, django_site):
    django_site.AWS_SES_CONFIGURATION_SET = lambda message, **_: "urgent" if "!" in message.subject else "calm"
    assert send(message(subject="now!"), message()) == 2
    assert [email.configuration_set for email in box.emails] == ["urgent", "calm"]


def test_in_djangos_test_environment_the_messages_are_in_its_outbox_too(box, monkeypatch):
    monkeypatch.setattr(mail, "outbox", [], raising=False)
    assert send(message(subject="seen")) == 1
    assert [each.subject for each in mail.outbox] == ["seen"]
    box.assert_sent(subject="seen", count=1)


def test_a_login_for_smtp_is_nothing_to_this_backend(box):
    assert send(message(), username="u", password="p") == 1


def test_django_says_sender_endpoint_and_credentials(django_site):
    django_site.SESMAIL = {}
    django_site.DEFAULT_FROM_EMAIL = "Shop <shop@example.com>"
    django_site.AWS_SES_REGION_ENDPOINT_URL = "http://127.0.0.1:1"
    django_site.AWS_ACCESS_KEY_ID, django_site.AWS_SECRET_ACCESS_KEY = "key", "s3cret"
    django_site.AWS_SES_CONFIGURATION_SET = lambda *_, **__: "events"
    said = load()
    assert (said.from_email, said.endpoint_url) == ("Shop <shop@example.com>", "http://127.0.0.1:1")
    assert (said.access_key_id, said.secret_access_key, said.configuration_set) == ("key", "s3cret", None)
    assert "s3cret" not in repr(said)
    django_site.AWS_SES_FROM_EMAIL = "ses@example.com"
    assert load().from_email == "ses@example.com"
    django_site.DEFAULT_FROM_EMAIL = "webmaster@localhost"
    del django_site.AWS_SES_FROM_EMAIL
    assert load().from_email is None


def test_a_key_of_django_s_settings_that_is_for_something_else_can_be_left_alone(django_site):
    django_site.AWS_ACCESS_KEY_ID, django_site.AWS_SECRET_ACCESS_KEY = "key of S3", "s3cret"
    said = load()
    assert Key.of(said.access_key_id, said.secret_access_key, said.session_token)
    django_site.SESMAIL = {"ACCESS_KEY_ID": "", "SECRET_ACCESS_KEY": ""}
    said = load()
    assert Key.of(said.access_key_id, said.secret_access_key, said.session_token) is None
