"""What SES tells of the emails in a test's outbox: in its own form, read and told as a worker does."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sesmail import (
    Bounced,
    Clicked,
    Complained,
    Delivered,
    Delivery,
    Opened,
    Unsubscribed,
    email_bounced,
    email_delivered,
    signals,
)
from sesmail.events.model import Unhandled
from sesmail.events.reading import read
from sesmail.testing import ses_event
from tests.signing import fixture_json
from tests.unit.testing.test_outbox import send

AS_SES_WRITES_IT = {
    "Send": ("ev_send.json", {}),
    "Delivery": ("ev_delivery.json", {}),
    "Bounce": ("ev_bounce_transient_mailboxfull.json", {"bounce_type": "Transient"}),
    "Complaint": ("ev_complaint_abuse.json", {}),
    "Open": ("ev_open.json", {}),
    "Click": ("ev_click.json", {}),
    "DeliveryDelay": ("ev_delivery_delay.json", {}),
    "Reject": ("ev_reject.json", {}),
    "Rendering Failure": ("ev_rendering_failure.json", {}),
    "Subscription": ("ev_subscription.json", {"topics": ["monthly"]}),
}
OF_THE_EMAIL = {"headers", "tags", "linkTags"}


def shape(document: Any) -> Any:
    """The names and the kinds of values in a document; of lists, that of the first."""
    if isinstance(document, dict):
        return {name: shape(value) for name, value in document.items() if name not in OF_THE_EMAIL}
    return [shape(document[0])] if isinstance(document, list) else type(document).__name__


@pytest.mark.parametrize("kind", AS_SES_WRITES_IT)
def test_each_kind_has_the_form_that_ses_gives_it(client, ses_outbox, kind):
    send(client)
    fixture, facts = AS_SES_WRITES_IT[kind]
    assert shape(json.loads(ses_event(kind, ses_outbox.one(), **facts))) == shape(fixture_json(fixture))


@pytest.mark.parametrize("kind", AS_SES_WRITES_IT)
def test_each_kind_is_read_as_what_it_is_and_of_this_email(client, ses_outbox, kind):
    send_id = send(client, tags={"sesmail-list": "monthly"})
    fixture, facts = AS_SES_WRITES_IT[kind]
    (event,) = read(ses_event(kind, ses_outbox.one(), **facts), site="shop")
    (expected,) = read(json.dumps(fixture_json(fixture)), site="shop")
    assert type(event) is type(expected) is not Unhandled
    assert (event.send_id, event.recipient, event.list) == (send_id, "ann@example.org", "monthly")
    assert (event.counter, event.delivery) == (expected.counter, expected.delivery)


def test_tags_and_headers_are_those_of_the_email(client, ses_outbox):
    send(
        client,
        tags={"campaign": "november"},
        headers={"List-Id": "news"},
        configuration_set="events",
        cc="Ü <u@example.org>",
    )
    mail = json.loads(ses_event("Send", ses_outbox.one()))["mail"]
    assert mail["tags"]["campaign"] == ["november"]
    assert mail["tags"]["ses:configuration-set"] == ["events"]
    headers = {header["name"]: header["value"] for header in mail["headers"]}
    assert (headers["List-Id"], headers["Cc"]) == ("news", "Ü <u@example.org>")
    assert mail["source"] == "Shop <shop@example.com>"
    assert mail["destination"] == ["ann@example.org", "u@example.org"]


def test_a_kind_that_ses_does_not_know_is_an_error(client, ses_outbox):
    send(client)
    with pytest.raises(ValueError, match="'Bounced': choose one of Send, Delivery, Bounce"):
        ses_event("Bounced", ses_outbox.one())


def test_receivers_are_told_with_the_event_and_the_metadata(client, ses_outbox, listen):
    heard = []
    listen(email_bounced, lambda site, *, event, metadata: heard.append((site, event, metadata)))
    send_id = send(client, metadata={"order": 7})
    told = ses_outbox.bounced(send_id)
    ((site, event, metadata),) = heard
    assert (site, event, metadata) == ("shop", told[0], {"order": 7})
    assert (event.permanent, event.recipient, event.send_id) == (True, "ann@example.org", send_id)


EVENTS = {
    Delivered: (lambda box, send_id: box.delivered(send_id), Delivery.DELIVERED),
    Bounced: (lambda box, send_id: box.bounced(send_id, permanent=False), Delivery.UNDELIVERED),
    Complained: (lambda box, send_id: box.complained(send_id, feedback_type="fraud"), Delivery.COMPLAINED),
    Unsubscribed: (lambda box, send_id: box.unsubscribed(send_id), None),
    Opened: (lambda box, send_id: box.opened(send_id, by_bot=True), None),
    Clicked: (lambda box, send_id: box.clicked(send_id, "https://example.com/sale"), None),
}


@pytest.mark.parametrize("kind", EVENTS)
def test_whatever_ses_tells_moves_the_status_and_reaches_the_receivers(client, ses_outbox, listen, kind):
    tell, delivery = EVENTS[kind]
    heard = []
    listen(signals.ALL[kind.signal], lambda site, *, event, metadata: heard.append(event))
    send_id = send(client)
    ses_outbox.deliver()
    told = tell(ses_outbox, send_id)
    assert heard == list(told)
    assert [type(event) for event in heard] == [kind]
    assert client.outbox.status(send_id).deliveries == ({"ann@example.org": delivery} if delivery else {})


def test_facts_of_an_event_can_be_said(client, ses_outbox):
    send_id = send(client, ["ann@example.org", "bob@example.org"])
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    (event,) = ses_outbox.bounced(send_id, recipient="bob@example.org", bounce_sub_type="NoEmail", at=at)
    assert (event.recipient, event.bounce_sub_type, event.occurred_at) == ("bob@example.org", "NoEmail", at)
    (event,) = ses_outbox.hear("DeliveryDelay", send_id, recipient="ann@example.org", delay_type="MailboxFull")
    assert event.delay_type == "MailboxFull"
    assert client.outbox.status(send_id).deliveries == {
        "ann@example.org": Delivery.DELAYED,
        "bob@example.org": Delivery.BOUNCED,
    }
    (event,) = ses_outbox.clicked(send_id, "https://example.com/sale")
    assert (event.link, event.recipient) == ("https://example.com/sale", "")


def test_what_has_an_id_stands_for_its_send(client, ses_outbox):
    result = type("AsyncResult", (), {"id": send(client)})()
    ses_outbox.delivered(result)
    ses_outbox.delivered(ses_outbox.one())
    assert client.outbox.status(result.id).deliveries == {"ann@example.org": Delivery.DELIVERED}


def test_what_a_receiver_raises_reaches_the_test_and_the_others_are_told(client, ses_outbox, listen):
    heard = []

    def broken(site, *, event, metadata):
        raise KeyError("order")

    listen(email_delivered, broken)
    listen(email_delivered, lambda site, *, event, metadata: heard.append(event))
    with pytest.raises(KeyError, match="order"):
        ses_outbox.delivered(send(client))
    assert len(heard) == 1
