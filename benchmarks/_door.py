"""The way by which SES's events come in, in `bench chaos`: SNS posts them to `sesmail webhook`, which suffers, too."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import boto3

from tests.acceptance.fleet import Supervised, wait_until
from tests.acceptance.programs import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sesmail.simulator import Simulator

CONFIGURATION_SET = "simulator"
TOPIC = "arn:aws:sns:us-east-1:123456789012:ses-events"
EVENT_TYPES = ["SEND", "DELIVERY", "BOUNCE", "COMPLAINT", "REJECT", "DELIVERY_DELAY"]
DELIVERY_POLICY = {  # as in deploy/ses-events.yaml
    "healthyRetryPolicy": {
        "numRetries": 30,
        "numMinDelayRetries": 5,
        "minDelayTarget": 5,
        "numMaxDelayRetries": 10,
        "maxDelayTarget": 120,
        "backoffFunction": "exponential",
    }
}


def settings(ses: Simulator) -> dict[str, str]:
    """What the door and the workers of its site are told."""
    return {
        "SESMAIL_TOPICS": json.dumps({TOPIC: "default"}),
        "SESMAIL_SNS_CERTIFICATE_URL": f"{ses.url}/_sim/certificate.pem",
        "AWS_ENDPOINT_URL_SNS": ses.url,
    }


class Door(Supervised):
    """A `sesmail webhook`, to which SES's events come by the topic of a configuration set."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._port = free_port()
        command = [str(Path(sys.executable).with_name("sesmail")), "webhook", "--port", str(self._port)]
        super().__init__("door", folder, command, environment)

    def subscribe(self, ses: Simulator, credentials: Mapping[str, str]) -> None:
        """Set the configuration set, its event destination, the topic and the subscription up, and see it confirmed."""
        session = boto3.Session(
            credentials["AWS_ACCESS_KEY_ID"],
            credentials["AWS_SECRET_ACCESS_KEY"],
            region_name=credentials["AWS_DEFAULT_REGION"],
        )
        sns, sesv2 = (session.client(service, endpoint_url=ses.url) for service in ("sns", "sesv2"))
        sns.create_topic(Name=TOPIC.rpartition(":")[2], Attributes={"SignatureVersion": "2"})
        sesv2.create_configuration_set_event_destination(
            ConfigurationSetName=CONFIGURATION_SET,
            EventDestinationName="sns",
            EventDestination={
                "Enabled": True,
                "MatchingEventTypes": EVENT_TYPES,
                "SnsDestination": {"TopicArn": TOPIC},
            },
        )
        address, policy = f"http://127.0.0.1:{self._port}/", json.dumps(DELIVERY_POLICY)
        sns.subscribe(TopicArn=TOPIC, Protocol="http", Endpoint=address, Attributes={"DeliveryPolicy": policy})
        wait_until(lambda: self._is_confirmed(ses), "the door has confirmed its subscription")

    @staticmethod
    def _is_confirmed(ses: Simulator) -> bool:
        (topic,) = ses.control("GET", "/_sim/topics")
        return all(one["token"] is None for one in topic["subscriptions"])
