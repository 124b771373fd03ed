"""The whole way: an email to the simulated SES, its events by a signed SNS through the door, and what follows."""

from __future__ import annotations

import time
from collections import Counter

import boto3
import pytest

from sesmail.doors.asgi import EventsApp
from sesmail.events.intake import Intake
from sesmail.events.processing import EventProcessor
from sesmail.events.sns import Certificates, Confirmation, SnsVerifier
from sesmail.events.stores.redis import RedisEventStore
from sesmail.simulator import Simulator
from sesmail.state.people.reputation import Reputation
from sesmail.state.people.suppression import SuppressionList
from sesmail.vocabulary import Delivery, Reason
from tests.acceptance.events.conftest import served

TOPIC = "arn:aws:sns:us-east-1:123456789012:ses-events"
ADDRESSES = [f"{what}@simulator.amazonses.com" for what in ("success", "bounce", "complaint", "ooto")]


@pytest.fixture(params=["1", "2"], ids="signature {}".format)
def world(request, scripts):
    """A door at which SNS has subscribed us, by the handshake; a simulator that posts to it; and the store behind it."""
    place = {}

    def certificate(_url: str) -> bytes:
        return place["ses"].certificate_pem()

    def sns(region: str):
        return boto3.client("sns", region_name=region, endpoint_url=place["ses"].url)

    store = RedisEventStore(scripts)
    verifier = SnsVerifier({TOPIC: "alpha"}, Certificates(certificate))
    app = EventsApp(Intake(verifier, store, confirm=Confirmation(sns)))
    options = {"rate": 1000, "time_scale": 100, "signature_version": request.param}
    with served(app) as port, Simulator(sns_url=f"http://127.0.0.1:{port}/", **options) as ses:
        place["ses"] = ses
        wait_until_confirmed(sns("us-east-1"))
        yield ses, store


def wait_until_confirmed(client) -> None:
    deadline = time.monotonic() + 10
    while "arn:" not in client.list_subscriptions_by_topic(TopicArn=TOPIC)["Subscriptions"][0]["SubscriptionArn"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    client.close()


def send(ses: Simulator, address: str, send_id: str) -> None:
    client = boto3.client("sesv2", endpoint_url=ses.url)
    client.send_email(
        FromEmailAddress="news@example.com",
        Destination={"ToAddresses": [address]},
        Content={"Simple": {"Subject": {"Data": "s"}, "Body": {"Text": {"Data": "t"}}}},
        EmailTags=[{"Name": "sesmail-id", "Value": send_id}, {"Name": "sesmail-list", "Value": "monthly"}],
    )
    client.close()


def test_every_event_of_the_simulated_ses_comes_to_the_site_once(world, scripts) -> None:
    ses, store = world
    ses.event_faults(duplicates=0.5)
    for address in ADDRESSES:
        send(ses, address, send_id=f"send-{address.partition('@')[0]}")
    suppression, reputation, proofs = SuppressionList(scripts), Reputation(scripts), Counter()
    processor = EventProcessor(
        "alpha",
        store,
        suppression,
        reputation,
        record_evidence=lambda send_id, _message_id: proofs.update([send_id]),
        metadata=lambda _send_id: {},
    )
    wanted = {
        "send-success": {"success@simulator.amazonses.com": Delivery.DELIVERED},
        "send-bounce": {"bounce@simulator.amazonses.com": Delivery.BOUNCED},
        "send-complaint": {"complaint@simulator.amazonses.com": Delivery.COMPLAINED},
        "send-ooto": {"ooto@simulator.amazonses.com": Delivery.DELIVERED},
    }
    deadline = time.monotonic() + 20
    while {send_id: reputation.deliveries(send_id) for send_id in wanted} != wanted:
        assert time.monotonic() < deadline, {send_id: reputation.deliveries(send_id) for send_id in wanted}
        processor.process()
        time.sleep(0.02)
    assert set(proofs) == set(wanted)
    assert {address: entry.reason for address in ADDRESSES for entry in suppression.find(address)} == {
        "bounce@simulator.amazonses.com": Reason.BOUNCED,
        "complaint@simulator.amazonses.com": Reason.COMPLAINED,
    }
