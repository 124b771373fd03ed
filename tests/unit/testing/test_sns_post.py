"""A site's own doors in its tests: they believe what the kit signs, keep it in memory, and nothing else changes."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest
from flask import Flask

from sesmail import (
    Delivery,
    Email,
    State,
    Unsubscribed,
    current_client,
    email_bounced,
    email_unsubscribed,
    unsubscribe_headers,
)
from sesmail.contrib.flask import SESMail
from sesmail.testing import ses_event, sns_post, trusted_sns
from tests.signing import CERTIFICATE_URL, Signer
from tests.unit.testing.conftest import NOWHERE
from tests.unit.testing.test_outbox import send

OWN_TOPIC = "arn:aws:sns:eu-west-1:123456789012:ses-events"


@pytest.fixture
def site():
    """A Flask site of which nothing is reachable but itself."""
    app = Flask("site")
    app.config.update(
        TESTING=True,
        SESMAIL_REDIS_URL=NOWHERE,
        SESMAIL_FROM_EMAIL="shop@example.com",
        SESMAIL_SITE="shop",
        SESMAIL_TOPICS={OWN_TOPIC: "shop"},
        SESMAIL_UNSUBSCRIBE_URL="https://example.com/sesmail/unsubscribe/",
        SESMAIL_UNSUBSCRIBE_SECRETS=["a secret for tests only"],
    )
    SESMail(app)
    with app.app_context():
        yield app.test_client()


def post(site, message: str, **options) -> int:
    signed = sns_post(message, **options)
    return site.post("/sesmail/events/", data=signed.body, headers=signed.headers).status_code


@pytest.mark.parametrize("options", [{}, {"topic": OWN_TOPIC}], ids=str)
def test_a_post_is_stored_and_processed_when_the_test_says_so(site, ses_outbox, listen, options):
    heard = []
    listen(email_bounced, lambda site, *, event, metadata: heard.append((site, event.recipient, metadata)))
    send_id = send(current_client(), metadata={"order": 7})
    with trusted_sns():
        assert post(site, ses_event("Bounce", ses_outbox.one()), **options) == 200
    assert heard == []
    assert ses_outbox.process_events() == 1
    assert heard == [("shop", "ann@example.org", {"order": 7})]
    status = current_client().outbox.status(send_id)
    assert (status.state, status.deliveries) == (State.SENT, {"ann@example.org": Delivery.BOUNCED})
    assert ses_outbox.process_events() == 0


def test_the_same_post_again_is_told_once(site, ses_outbox, listen):
    heard = []
    listen(email_bounced, lambda site, *, event, metadata: heard.append(event))
    send(current_client())
    signed = sns_post(ses_event("Bounce", ses_outbox.one()))
    with trusted_sns():
        for _ in range(2):
            assert site.post("/sesmail/events/", data=signed.body, headers=signed.headers).status_code == 200
    ses_outbox.process_events()
    assert len(heard) == 1


def test_it_is_believed_within_the_test_alone(site, ses_outbox):
    send(current_client())
    with trusted_sns():
        pass
    assert post(site, "hello") == 403
    with trusted_sns(current_client()):
        assert post(site, "hello") == 200


def test_another_topic_another_key_and_a_changed_message_are_refused_as_ever(site, ses_outbox):
    stranger = Signer().notification(
        "hello", TopicArn=OWN_TOPIC, SigningCertURL=CERTIFICATE_URL.replace("us-east-1", "eu-west-1")
    )
    changed = json.loads(sns_post("hello").body) | {"Message": "goodbye"}
    with trusted_sns():
        assert post(site, "hello", topic=f"{OWN_TOPIC}-of-another") == 403
        for body in (stranger, changed):
            assert site.post("/sesmail/events/", data=json.dumps(body)).status_code == 403
    ses_outbox.process_events()


def test_with_redis_away_the_door_says_that_it_must_come_again(site, ses_outbox):
    with trusted_sns(), ses_outbox.redis_away():
        assert post(site, "hello") == 503


def test_what_a_receiver_raises_does_not_reach_sns_but_the_test(site, ses_outbox, listen):
    def broken(site, *, event, metadata):
        raise ValueError("no such member")

    listen(email_bounced, broken)
    send(current_client())
    with trusted_sns():
        assert post(site, ses_event("Bounce", ses_outbox.one())) == 200
    with pytest.raises(ValueError, match="no such member"):
        ses_outbox.process_events()


def test_a_link_to_leave_works_in_memory(site, ses_outbox, listen):
    heard = []
    listen(email_unsubscribed, lambda site, *, event, metadata: heard.append(event))
    letter = {"tags": {"sesmail-list": "monthly"}, "lane": "bulk"}
    headers = unsubscribe_headers("ann@example.org", "monthly")
    current_client().send(Email("ann@example.org", "News", "...", headers=headers, **letter))
    path = urlsplit(ses_outbox.emails[0].headers["List-Unsubscribe"].strip("<>")).path
    assert site.post(path).status_code == 200
    assert ses_outbox.process_events() == 1
    assert [type(event) for event in heard] == [Unsubscribed]
    ses_outbox.deliver()
    assert ses_outbox.one().status.state is State.SUPPRESSED


def test_without_an_outbox_of_the_test_doors_keep_what_comes_in_memory_too(site):
    with trusted_sns():
        assert post(site, "hello") == 200
    assert current_client().memory.events.waiting() == ["shop"]
