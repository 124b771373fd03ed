"""Django sites that mail through SES today, with django-ses or django-anymail, work against the simulator unchanged."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from sesmail.simulator import Simulator
from tests.contract.simulator.receiver import eventually, sns_client
from tests.contract.simulator.simulator_client import client_for


def get(url: str):
    with urllib.request.urlopen(url, timeout=20) as answer:
        return json.loads(answer.read())


@pytest.fixture(scope="module")
def ses():
    with Simulator(rate=100, calls_per_second=None, time_scale=5) as ses:
        yield ses


@pytest.fixture(scope="module")
def site(ses):
    command = [sys.executable, Path(__file__).with_name("django_site.py"), ses.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield json.loads(process.stdout.readline())["url"]
        process.terminate()


@pytest.mark.parametrize("backend", ["django-ses", "django-ses-v2", "anymail"])
def test_an_email_goes_out_whole(ses, site, backend):
    before = len(ses.messages())
    assert get(f"{site}/send?backend={backend}") == {"sent": 1}
    (message,) = ses.messages(after=before)
    assert message["subject"] == "Grüße"
    assert message["recipients"] == ["bounce+django@simulator.amazonses.com"]
    shown = ses.control("GET", f"/_sim/messages/{message['message_id']}")
    assert shown["text"].strip() == "Good morning"
    assert shown["has_html"]
    assert [one["filename"] for one in shown["attachments"]] == ["notes.txt"]


def test_their_webhooks_confirm_the_subscription_and_take_the_signed_events(ses, site):
    sns, sesv2 = sns_client(ses.url), client_for(ses)
    topic = sns.create_topic(Name="django")["TopicArn"]
    for endpoint in (f"{site}/ses/", f"{site.replace('//', '//sns:secret@')}/anymail/amazon_ses/tracking/"):
        sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=endpoint)

    def confirmed() -> bool:
        found = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
        return all(one["SubscriptionArn"] != "PendingConfirmation" for one in found)

    eventually(confirmed)
    sesv2.create_configuration_set_event_destination(
        ConfigurationSetName="simulator",
        EventDestinationName="django",
        EventDestination={
            "Enabled": True,
            "MatchingEventTypes": ["SEND", "BOUNCE"],
            "SnsDestination": {"TopicArn": topic},
        },
    )
    get(f"{site}/send?backend=anymail")
    message_id = ses.messages()[-1]["message_id"]
    eventually(lambda: len(get(f"{site}/received")) >= 4)
    assert sorted(get(f"{site}/received")) == sorted(
        [
            ["django-ses", "send", message_id],
            ["django-ses", "bounce", message_id],
            ["anymail", "sent", "bounce+django@simulator.amazonses.com"],
            ["anymail", "bounced", "bounce+django@simulator.amazonses.com"],
        ]
    )
    assert ses.report()["notifications"]["dead"] == 0
