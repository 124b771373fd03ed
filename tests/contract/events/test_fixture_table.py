"""Every example of what AWS sends, with its outcome: taken or refused, what is stored, and what follows from it.

One table. Each row says by which way the example comes in and what is answered; then, for each typed event that is
stored: its kind, recipient, what it counts as, the delivery status it proves, and the opt-outs that follow.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import pytest

from sesmail.doors.aws_lambda import lambda_handler
from sesmail.errors import EventNotStored
from sesmail.events.intake import Intake
from sesmail.events.reading import read
from sesmail.events.sns import Certificates, SnsVerifier
from sesmail.events.stores import EventState
from tests.signing import FIXTURE_PEM, FIXTURES, FIXTURES_SIGNED_AT, TOPIC, Signer, fixture_json, fixture_text

READER = "reader.one@example.org"
GONE = ("Bounced", "gone@example.net", "bounced_permanent", "bounced", "bounced everything")


@dataclass(frozen=True)
class Row:
    way: str
    """How it comes in: the name of a function below."""
    answer: object
    """HTTP status; for queues, how many of the messages stay in the queue."""
    events: tuple = ()


def bounce(recipient, counter, delivery="undelivered", suppresses=""):
    return Row("published", 200, (("Bounced", recipient, counter, delivery, suppresses),))


def complaint(*events):
    return Row("published", 200, tuple(("Complained", *event) for event in events))


SPAM = ("complained", "complained", "complained everything")

TABLE = {
    # event publishing
    "ev_send.json": Row("published", 200, (("Sent", READER, "sent", "accepted", ""),)),
    "ev_delivery.json": Row("published", 200, (("Delivered", READER, "delivered", "delivered", ""),)),
    "ev_delivery_delay.json": Row("published", 200, (("Delayed", READER, "", "delayed", ""),)),
    "ev_reject.json": Row("published", 200, (("Rejected", READER, "", "rejected", ""),)),
    "ev_rendering_failure.json": Row("published", 200, (("RenderingFailed", READER, "", "rendering_failed", ""),)),
    "ev_open.json": Row("published", 200, (("Opened", READER, "opened", "", ""),)),
    "ev_open_before_2026_08.json": Row("published", 200, (("Opened", READER, "opened", "", ""),)),
    "ev_open_bot.json": Row("published", 200, (("Opened", READER, "", "", ""),)),
    "ev_click.json": Row("published", 200, (("Clicked", READER, "clicked", "", ""),)),
    "ev_subscription.json": Row(
        "published", 200, (("Unsubscribed", READER, "unsubscribed", "", "unsubscribed site:alpha"),)
    ),
    "ev_unknown_future_type.json": Row("published", 200, (("Unhandled", "", "", "", ""),)),
    "ev_bounce_permanent_general.json": Row("published", 200, (GONE,)),
    "ev_bounce_permanent_noemail.json": bounce(
        "nobody@example.net", "bounced_permanent", "bounced", "bounced everything"
    ),
    "ev_bounce_permanent_suppressed.json": bounce(
        "suppressed@example.net", "bounced_permanent", "bounced", "bounced everything"
    ),
    "ev_bounce_permanent_onaccountsuppressionlist.json": bounce(
        "listed@example.net", "bounced_suppressed", "bounced", "ses-list everything"
    ),
    "ev_bounce_permanent_ontenantsuppressionlist.json": bounce(
        "listed@example.net", "bounced_suppressed", "bounced", "ses-list site:alpha"
    ),
    "ev_bounce_permanent_emailvalidationsuppressed.json": bounce(
        "risky@example.net", "bounced_suppressed", "bounced", "invalid everything"
    ),
    "ev_bounce_transient_general_ooto.json": bounce(READER, "bounced_transient"),
    "ev_bounce_transient_mailboxfull.json": bounce("full@example.net", "bounced_transient"),
    "ev_bounce_transient_customtimeoutexceeded.json": bounce("slow@example.net", "bounced_transient"),
    "ev_bounce_undetermined.json": bounce("odd@example.net", "bounced_undetermined"),
    "ev_bounce_multi_recipient_mixed.json": Row(
        "published",
        200,
        (
            ("Bounced", "gone1@example.net", "bounced_permanent", "bounced", "bounced everything"),
            ("Bounced", "later@example.net", "bounced_transient", "undelivered", ""),
        ),
    ),
    "ev_complaint_abuse.json": complaint((READER, *SPAM)),
    "ev_complaint_without_report.json": complaint((READER, *SPAM)),
    "ev_complaint_ambiguous_two_recipients.json": complaint(
        ("a@example.org", *SPAM), ("b@example.org", "", "complained", "complained everything")
    ),
    "ev_complaint_not_spam.json": Row("published", 200, (("Unhandled", "", "", "", ""),)),
    "ev_complaint_onaccountsuppressionlist.json": Row(
        "published", 200, (("ComplainedBefore", READER, "", "complained", "complained everything"),)
    ),
    # identity notifications
    "id_delivery.json": Row("published", 200, (("Delivered", "jane@example.org", "delivered", "delivered", ""),)),
    "id_complaint.json": complaint(("richard@example.org", *SPAM)),
    "id_bounce_with_dsn_and_headers.json": bounce(
        "jane@example.org", "bounced_permanent", "bounced", "bounced everything"
    ),
    "id_bounce_no_dsn_no_headers.json": Row(
        "published",
        200,
        tuple(
            ("Bounced", recipient, "bounced_permanent", "bounced", "bounced everything")
            for recipient in ("jane@example.org", "richard@example.org")
        ),
    ),
    # greetings
    "setup_identity_topic_subscribed.json": Row("published", 200, (("SetUp", "", "", "", ""),)),
    "setup_eventpublishing_topic_validated.txt": Row("published", 200, (("SetUp", "", "", "", ""),)),
    # SNS over HTTP, signed with the examples' own certificate
    "sns_http_notification_v1_subject.json": Row("posted", 200, (GONE,)),
    "sns_http_notification_v2_subject.json": Row("posted", 200, (("Delivered", READER, "delivered", "delivered", ""),)),
    "sns_http_notification_v2_no_subject.json": Row("posted", 200, (("Complained", READER, *SPAM),)),
    "sns_http_notification_topic_validated.json": Row("posted", 200, (("SetUp", "", "", "", ""),)),
    "sns_http_notification_v2_TAMPERED.json": Row("posted", 403),
    "sns_http_notification_EVIL_cert_url_s3.json": Row("posted", 403),
    "sns_http_subscription_confirmation_v1.json": Row("posted", 200, (("SetUp", "", "", "", ""),)),
    "sns_http_subscription_confirmation_v2.json": Row("posted", 200, (("SetUp", "", "", "", ""),)),
    "sns_http_unsubscribe_confirmation_v1.json": Row("posted", 200, (("Unhandled", "", "", "", ""),)),
    "http_post_notification.http": Row("requested", 200, (GONE,)),
    "http_post_subscription_confirmation.http": Row("requested", 200, (("SetUp", "", "", "", ""),)),
    "http_post_notification_rawdelivery.http": Row("requested", 400),
    # queues
    "sqs_body_enveloped.json": Row("queued", 0, (GONE,)),
    "sqs_body_rawdelivery.json": Row("queued", 0, (GONE,)),
    "eventbridge_bounce.json": Row("queued", 0, (GONE,)),
    "firehose_records.ndjson": Row(
        "queued",
        0,
        (
            ("Delivered", READER, "delivered", "delivered", ""),
            ("Opened", READER, "opened", "", ""),
            ("Sent", READER, "sent", "accepted", ""),
        ),
    ),
    "lambda_sns_event.json": Row("invoked", None, (GONE,)),
    "lambda_sns_event_null_subject.json": Row("invoked", None, (("Complained", READER, *SPAM),)),
    "lambda_sqs_event_mixed.json": Row(
        "invoked",
        fixture_json("lambda_sqs_response_partial.json"),
        (GONE, ("Delivered", READER, "delivered", "delivered", ""), ("SetUp", "", "", "", "")),
    ),
}
NOT_EVENTS = {"TEST-ONLY-signing-cert.pem", "lambda_sqs_response_partial.json"}


def published(intake, name):
    message = json.dumps(fixture_json(name)) if name.endswith(".json") else fixture_text(name)
    return intake.answer(json.dumps(SIGNER.notification(message)).encode(), {}).status


def posted(intake, name):
    return intake.answer(fixture_text(name).encode(), {}).status


def requested(intake, name):
    head, _, body = (FIXTURES / name).read_bytes().decode().partition("\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.splitlines()[1:])
    return intake.answer(body.encode(), headers).status


def queued(intake, name):
    bodies = fixture_text(name).splitlines() if name.endswith(".ndjson") else [fixture_text(name)]
    return len(intake.take(dict(enumerate(bodies))))


def invoked(intake, name):
    return lambda_handler(intake)(fixture_json(name), None)


WAYS = {way.__name__: way for way in (published, posted, requested, queued, invoked)}
SIGNER = Signer()


def intake_for(store, *, raw_site="alpha", pem=FIXTURE_PEM) -> Intake:
    clock = time.time if pem is SIGNER.pem else lambda: FIXTURES_SIGNED_AT
    return Intake(SnsVerifier({TOPIC: "alpha"}, Certificates(lambda url: pem, clock=clock)), store, raw_site=raw_site)


def stored_events(store) -> list:
    return [
        (
            type(event).__name__,
            event.recipient,
            event.counter or "",
            event.delivery or "",
            " ".join(f"{reason} {scope}" for reason, scope in event.suppresses),
        )
        for stored in store.read("alpha", EventState.UNPROCESSED)
        for event in read(stored.message, site="alpha")
    ]


@pytest.mark.parametrize("name", TABLE)
def test_an_example_has_its_outcome(sqlite_store, name) -> None:
    row = TABLE[name]
    pem = SIGNER.pem if row.way == "published" else FIXTURE_PEM
    assert WAYS[row.way](intake_for(sqlite_store, pem=pem), name) == row.answer
    assert sorted(stored_events(sqlite_store)) == sorted(row.events)


def test_every_example_is_in_the_table() -> None:
    assert {path.name for path in FIXTURES.iterdir()} == set(TABLE) | NOT_EVENTS


def test_raw_delivery_is_left_in_the_queue_where_nobody_said_whose_it_is(sqlite_store) -> None:
    assert queued(intake_for(sqlite_store, raw_site=None), "sqs_body_rawdelivery.json") == 1
    assert not stored_events(sqlite_store)


def test_a_forged_envelope_is_left_in_the_queue(sqlite_store) -> None:
    assert queued(intake_for(sqlite_store), "sns_http_notification_v2_TAMPERED.json") == 1
    assert not stored_events(sqlite_store)


def test_lambda_behind_sns_fails_when_one_record_was_not_stored_and_keeps_the_others(sqlite_store) -> None:
    event = fixture_json("lambda_sns_event.json")
    forged = json.loads(json.dumps(event["Records"][0]))
    forged["Sns"]["Message"] += " "
    with pytest.raises(EventNotStored, match="1 of 2"):
        lambda_handler(intake_for(sqlite_store))({"Records": [forged, *event["Records"]]}, None)
    assert stored_events(sqlite_store) == [GONE]
