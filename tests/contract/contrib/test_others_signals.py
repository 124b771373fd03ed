"""The table "From django-ses's and anymail's signals" of docs/events-react.md, row by row, against those two as installed."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from sesmail import signals
from tests.contract.events.site_of_events import SIGNER, SiteOfEvents
from tests.signing import fixture_json

TYPES = {
    "sent": "Sent",
    "delivered": "Delivered",
    "bounced": "Bounced",
    "complained": "Complained",
    "opened": "Opened",
    "clicked": "Clicked",
    "rejected": "Rejected",
    "failed": "RenderingFailed",
}
"""anymail's `event_type`, and ours."""
OF_ANYMAIL = [{"name": "X-Tag", "value": "may"}, {"name": "X-Metadata", "value": '{"member": 7}'}]
FIXTURES = [
    "ev_send.json",
    "ev_delivery.json",
    "ev_bounce_permanent_general.json",
    "ev_bounce_multi_recipient_mixed.json",
    "id_bounce_with_dsn_and_headers.json",
    "ev_complaint_abuse.json",
    "ev_open.json",
    "ev_click.json",
    "ev_reject.json",
    "ev_rendering_failure.json",
]


@pytest.fixture
def site(redis):
    return SiteOfEvents(redis)


def told(site, envelope, signal=signals.email_event):
    """The events that a receiver hears of."""
    events = []

    def hear(_site, *, event, metadata):
        events.append(event)

    with signal.connected_to(hear):
        assert site.intake.answer(json.dumps(envelope).encode(), {}).status == 200
        site.processor.process()
    return events


def text(value) -> str:
    return value or ""


@pytest.mark.parametrize("name", FIXTURES)
def test_what_anymail_tells_stands_where_the_table_says(django_site, site, name) -> None:
    from anymail.webhooks.amazon_ses import AmazonSESTrackingWebhookView

    document = fixture_json(name)
    document["mail"]["headers"] = [*document["mail"].get("headers", []), *OF_ANYMAIL]
    envelope = SIGNER.notification(document)
    theirs = AmazonSESTrackingWebhookView.esp_to_anymail_events(None, document, envelope)
    ours = told(site, envelope)
    assert len(ours) == len(theirs) > 0
    for our, their in zip(ours, theirs, strict=True):
        assert type(our).__name__ == TYPES[their.event_type]
        assert our.recipient == their.recipient
        assert (our.message_id, our.event_id) == (their.message_id, their.event_id)
        assert (our.mta_response, our.user_agent) == (text(their.mta_response), text(their.user_agent))
        assert text(getattr(our, "link", "")) == text(their.click_url)
        assert our.mail.raw == their.esp_event["mail"]
        assert our.details in their.esp_event.values()
        assert [value for header, value in our.mail.headers if header == "X-Tag"] == their.tags
        assert json.loads(our.mail.header("X-Metadata")) == their.metadata
        if their.event_type == "bounced":
            assert f"{our.bounce_type}: {our.bounce_sub_type}" == their.description
        if their.event_type == "rejected":
            assert our.reject_reason == their.description


@pytest.mark.parametrize(
    ("kind", "signal", "name"),
    [
        ("bounce", signals.email_bounced, "ev_bounce_permanent_general.json"),
        ("complaint", signals.email_complained, "ev_complaint_abuse.json"),
        ("delivery", signals.email_delivered, "ev_delivery.json"),
        ("send", signals.email_accepted, "ev_send.json"),
        ("open", signals.email_opened, "ev_open.json"),
        ("click", signals.email_clicked, "ev_click.json"),
    ],
)
def test_what_django_ses_tells_stands_where_the_table_says(django_site, site, kind, signal, name) -> None:
    from django_ses import signals as theirs
    from django_ses.views import SESEventWebhookView

    document, heard = fixture_json(name), []
    envelope = SIGNER.notification(document)
    (event,) = told(site, envelope, signal)

    def hear(sender, **said):
        heard.append(said)

    view = SESEventWebhookView()
    view.request = SimpleNamespace(body=json.dumps(envelope))
    their_signal = getattr(theirs, f"{kind}_received")
    their_signal.connect(hear)
    try:
        getattr(view, f"handle_{kind}")(envelope, document)
    finally:
        their_signal.disconnect(hear)
    (said,) = heard
    assert (event.mail.raw, event.details) == (said["mail_obj"], said[f"{kind}_obj"])
    assert json.loads(site.store.get(event.event_id).message) == json.loads(json.loads(said["raw_message"])["Message"])
